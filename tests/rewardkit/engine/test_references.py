"""Files that are compared with others, and folders of images and videos together."""

import json
import time

import pytest
import torch
from made_rewards import card
from pictures import picture, pil

import rewardkit
from rewardkit.engine import registry
from rewardkit.engine.extractor import RawMedia
from rewardkit.engine.reward import Reward, RewardEntry
from rewardkit.errors import UsageError
from rewardkit.media.batch import Clip
from rewardkit.media.writing import write_medium


class Kept(Reward):
    """How little of the picture it starts from a medium changes, at its first frame."""

    def __init__(self, card):
        self.card, self.extractor = card, RawMedia()

    @classmethod
    def load(cls, card, loader):
        return cls(card)

    def score(self, batch, features):
        changes = []
        for sample in features:
            video = isinstance(sample.medium, Clip)
            seen = sample.clip.frames[0] if video else sample.picture
            changes.append((seen.float() - sample.references["source"].float()).abs().mean())
        return 1 - torch.stack(changes) / 255


@pytest.fixture
def kept(monkeypatch):
    """A reward of images and videos that compares with a reference."""
    own = card("kept", inputs=("image", "video"), needs_references=("source",))
    registry.list_rewards()
    monkeypatch.setitem(registry._entries, "kept", RewardEntry(own, Kept, "this test"))


def flat(level):
    return pil(torch.full((3, 8, 8), level, dtype=torch.uint8))


@pytest.fixture
def edits(tmp_path):
    """Three edits of two sources, and the manifest that names them."""
    for name in ("edits", "sources"):
        (tmp_path / name).mkdir()
    for level in (0, 51, 255):
        flat(level).save(tmp_path / "edits" / f"{level}.png")
    flat(0).save(tmp_path / "sources" / "black.png")
    flat(255).save(tmp_path / "sources" / "white.png")
    time.sleep(0.06)  # a file as young as this when it is read counts as possibly changed
    return manifest(tmp_path, {"0": "black", "51": "black", "255": "white"})


def manifest(folder, sources):
    lines = [
        {"path": f"edits/{edit}.png", **({"source": f"sources/{source}.png"} if source else {})}
        for edit, source in sources.items()
    ]
    path = folder / "edits.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def scores(report):
    return [row.scores["kept"] and round(row.scores["kept"], 4) for row in report.rows]


def test_a_manifest_names_the_references_from_its_own_folder(kept, edits, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert scores(rewardkit.score_folder(edits, "kept")) == [1.0, 0.8, 1.0]
    by_table = rewardkit.score_folder(tmp_path / "edits", "kept", prompts=with_prompts(edits))
    assert sorted(scores(by_table)) == [0.8, 1.0, 1.0]


def with_prompts(edits):
    """The manifest as a file of prompts."""
    lines = [json.loads(line) | {"prompt": "black"} for line in edits.read_text().splitlines()]
    path = edits.with_name("prompts.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_missing_or_broken_reference_costs_its_row_and_is_named(kept, tmp_path, edits):
    (tmp_path / "sources" / "broken.png").write_bytes(b"\x89PNG broken")
    manifest(tmp_path, {"0": "black", "51": "gone", "255": "broken"})
    report = rewardkit.score_folder(edits, "kept")
    assert scores(report) == [1.0, None, None]
    assert "the reference 'source' cannot be read: " in report.rows[1].error
    assert "gone.png" in report.rows[1].error and "broken.png" in report.rows[2].error


def test_a_line_without_a_reference_loses_only_the_reward_that_needs_it(kept, tmp_path, edits):
    manifest(tmp_path, {"0": "black", "51": None, "255": "white"})
    report = rewardkit.score_folder(edits, "kept+contrast")
    assert scores(report) == [1.0, None, 1.0]
    assert report.rows[1].scores["contrast"] == 0
    assert report.rows[1].error.endswith("and this sample has no source")


def test_references_that_no_file_has_are_asked_for_at_once(kept, tmp_path, edits):
    with pytest.raises(UsageError, match=r"no file has one.*with a column 'source'"):
        rewardkit.score_folder(tmp_path / "edits", "kept")


def test_a_changed_reference_is_scored_again(kept, tmp_path, edits):
    output = tmp_path / "scores.parquet"
    assert scores(rewardkit.score_folder(edits, "kept", output=output)) == [1.0, 0.8, 1.0]
    flat(255).save(tmp_path / "sources" / "black.png")
    report = rewardkit.score_folder(edits, "kept", output=output)
    assert scores(report) == [0.0, 0.2, 1.0] and report.reused == 1
    manifest(tmp_path, {"0": "black", "51": "black", "255": "black"})
    report = rewardkit.score_folder(edits, "kept", output=output)
    assert report.reused == 2, "another reference is another file"


@pytest.fixture
def mixed(tmp_path):
    """A folder of two images and a video of two frames."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for seed in range(2):
        pil(picture(seed, 16, 16)).save(folder / f"{seed}.png")
    frames = torch.stack([torch.full((3, 16, 16), level, dtype=torch.uint8) for level in (50, 200)])
    write_medium(Clip(frames, 8.0), folder / "2")
    (tmp_path / "my.py").write_text(
        "def frames(batch):\n"
        "    return [len(m.frames) if hasattr(m, 'fps') else 0 for m in batch.media]\n"
    )
    time.sleep(0.06)
    return folder


def test_rewards_that_take_both_score_images_and_videos_together(mixed, tmp_path):
    spec, output = f"{tmp_path / 'my.py'}:frames", tmp_path / "scores.parquet"
    report = rewardkit.score_folder(mixed, spec, output=output)
    assert [row.scores[spec] for row in report.rows] == [0, 0, 2] and report.failed == 0
    assert rewardkit.score_folder(mixed, spec, output=output).reused == 3
    one = rewardkit.score_folder(mixed, spec, frames=1)
    assert [row.scores[spec] for row in one.rows] == [0, 0, 1], "frames are chosen of videos alone"
    videos = rewardkit.score_folder(mixed, spec, kind="video")
    assert [row.id for row in videos.rows] == ["2"]


def test_a_first_video_among_images_is_scored_alone(mixed, tmp_path):
    spec, output = f"{tmp_path / 'my.py'}:frames", tmp_path / "scores.parquet"
    video = (mixed / "2.mp4").rename(tmp_path / "2.mp4")
    assert len(rewardkit.score_folder(mixed, spec, output=output)) == 2
    video.rename(mixed / "2.mp4")
    assert rewardkit.score_folder(mixed, spec, output=output).reused == 2


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("contrast", r"2 images, such as .*0.png'? and 1 videos.*but contrast scores only images"),
        ("temporal-stability", "but temporal-stability scores only videos.*--input video"),
    ],
)
def test_a_reward_of_one_kind_never_scores_a_part_of_a_mixed_folder_unasked(mixed, spec, told):
    with pytest.raises(UsageError, match=told):
        rewardkit.score_folder(mixed, spec)
    with pytest.raises(UsageError, match=told):
        rewardkit.score_folder(sorted(mixed.iterdir()), spec)


def test_one_kind_of_a_mixed_folder_is_chosen(mixed):
    report = rewardkit.score_folder(mixed, "contrast", kind="image")
    assert [row.id for row in report.rows] == ["0", "1"] and report.failed == 0
