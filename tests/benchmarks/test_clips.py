"""A benchmark of clips goes the way of one of pictures: made, checked, scored, ranked."""

import json
from dataclasses import replace

import pytest
import tiny_videos
import torch
from made_rewards import card
from PIL import Image
from tiny_benchmarks import CASES, TINY, save

from benchmarks.benchmark import get
from benchmarks.media import check, make
from benchmarks.prompts import PromptSet
from benchmarks.reading import read_result
from benchmarks.runner import ready, score
from leaderboards.assemble import leaderboard
from leaderboards.tables import tables
from rewardkit.engine import registry
from rewardkit.engine.extractor import RawMedia
from rewardkit.engine.registry import list_rewards
from rewardkit.engine.reward import Reward, RewardEntry
from rewardkit.errors import InputError, UsageError
from rewardkit.generators.noise import sample_seed
from rewardkit.generators.pipelines import generate, load
from rewardkit.generators.requests import Request
from rewardkit.media.batch import Clip
from rewardkit.media.clips import read_clip, write_clip
from rewardkit.media.images import read_image

MOVING = replace(
    TINY, name="moving", task="text-to-video", rewards="motion-smoothness", media="moving"
)
FEW = PromptSet("few", CASES[:3])


@pytest.fixture
def folder(tmp_path):
    """Two clips of each of three prompts."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for number, name in enumerate(f"0000{i}-0{j}" for i in range(3) for j in range(2)):
        generator = torch.Generator().manual_seed(number)
        frames = torch.randint(0, 256, (5, 3, 16, 16), generator=generator, dtype=torch.uint8)
        write_clip(Clip(frames, 8.0), clips / f"{name}.mp4")
    return clips


def test_clips_are_scored_and_stand_on_a_board_of_their_own(folder, tmp_path):
    path = score(MOVING, FEW, folder, tmp_path / "results", name="m", device="cpu")
    result = read_result(path)
    assert result.complete and result.n_scored == 6 and result.benchmark.task == "text-to-video"
    (board,) = leaderboard([tmp_path / "results"]).boards
    assert board.task == "text-to-video" and board.averaging == "mean over tasks"
    (table,) = tables(leaderboard([tmp_path / "results"]), ["score", "clips"])
    assert table.board["modality"] == "T2V" and table.about.startswith("version 1, T2V, by motion")
    assert [column.name for column in table.columns] == ["model", "score", "clips"]


def test_messages_are_about_clips(folder, tmp_path):
    (folder / "00002-01.mp4").unlink()
    with pytest.raises(InputError, match="1 of 6 clips of moving are missing"):
        check(MOVING, FEW, folder)
    save(folder / "00002-01.png", 0)
    (folder / "00001-00.mp4").write_bytes(b"no clip")
    with pytest.raises(InputError) as error:
        check(MOVING, FEW, folder)
    assert "00002-01.png: not an extension that can be read here" in str(error.value)
    assert "00001-00.mp4" in str(error.value)
    (tmp_path / "wrong").mkdir()
    with pytest.raises(InputError, match="has no clips of moving"):
        check(MOVING, FEW, tmp_path / "wrong")


def test_a_reward_of_pictures_is_refused_before_clips_are_made():
    with pytest.raises(UsageError, match="sharpness takes no clips, and moving makes clips"):
        ready([(replace(MOVING, rewards="sharpness"), FEW)], {})


def test_a_model_of_clips_makes_them(tmp_path):
    pipeline = load(tiny_videos.saved("wan", tmp_path), device="cpu")
    few = PromptSet("one", CASES[:1])
    make(MOVING, few, pipeline, tmp_path / "made", protocol=tiny_videos.CLIP)
    checked = check(MOVING, few, tmp_path / "made")
    assert [path.name for path in checked.paths.values()] == ["00000-00.mp4", "00000-01.mp4"]
    assert checked.made.protocol["frames"] == 5
    with pytest.raises(UsageError, match=r"tiny is text-to-image, and .* makes text-to-video"):
        make(TINY, few, pipeline, tmp_path / "other", protocol=tiny_videos.CLIP)


@pytest.fixture
def first_frames(tmp_path):
    """A file of two prompts with their first frames."""
    lines = []
    for name in ("red", "blue"):
        Image.new("RGB", (16, 16), name).save(tmp_path / f"{name}.png")
        lines.append({"prompt": f"a {name} ring", "image": f"{name}.png"})
    path = tmp_path / "frames.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_benchmark_from_first_frames_gives_each_prompt_its_own(first_frames, tmp_path):
    benchmark = get("image-to-video-prompts").on(str(first_frames)).by("motion-smoothness")
    prompts = benchmark.prompts()
    pipeline = load(tiny_videos.saved("wan-i2v", tmp_path / "wan"), device="cpu")
    make(benchmark, prompts, pipeline, tmp_path / "made", protocol=tiny_videos.LONG)
    for case, name in zip(prompts.cases, ("red", "blue"), strict=True):
        picture = read_image(tmp_path / f"{name}.png")
        request = Request(case.prompt, sample_seed(0, case.index, 0), {"first_frame": picture})
        (clip,) = generate(pipeline, [request], protocol=tiny_videos.LONG)
        write_clip(clip, tmp_path / "same.mp4")
        made = read_clip(tmp_path / "made" / f"0000{case.index}-00.mp4")
        assert torch.equal(made.frames, read_clip(tmp_path / "same.mp4").frames)
    path = score(benchmark, prompts, tmp_path / "made", tmp_path / "out", name="m", device="cpu")
    assert read_result(path).benchmark.task == "image-to-video"
    # Another picture under the same name is another prompt.
    Image.new("RGB", (16, 16), "green").save(tmp_path / "red.png")
    assert benchmark.prompts().sha256 != read_result(path).prompts.sha256
    Image.new("RGB", (16, 32)).save(tmp_path / "blue.png")
    told = r"frames\.jsonl, prompt 2: the first frame .* is 16 x 32 pixels, and the clip 16 x 16"
    with pytest.raises(InputError, match=told):
        make(benchmark, prompts, pipeline, tmp_path / "other", protocol=tiny_videos.LONG)
    assert not (tmp_path / "other").exists()


class StartsAt(Reward):
    """How near the first frame of a clip is to the one that was given."""

    def __init__(self, card):
        self.card, self.extractor = card, RawMedia()

    @classmethod
    def load(cls, card, loader):
        return cls(card)

    def score(self, batch, features):
        pairs = [(sample.clip.frames[0], sample.references["first_frame"]) for sample in features]
        changes = [(shown.float() - first.float()).abs().mean() for shown, first in pairs]
        return 1 - torch.stack(changes) / 255


def test_rewards_that_need_the_first_frame_are_given_it(first_frames, tmp_path, monkeypatch):
    own = card("starts-at", inputs=("video",), needs_references=("first_frame",))
    list_rewards()
    monkeypatch.setitem(registry._entries, "starts-at", RewardEntry(own, StartsAt, "this test"))
    benchmark = get("image-to-video-prompts").on(str(first_frames)).by("starts-at")
    prompts = benchmark.prompts()
    ready([(benchmark, prompts)], {})
    (tmp_path / "clips").mkdir()
    for case, name in zip(prompts.cases, ("red", "green"), strict=True):
        Image.new("RGB", (16, 16), name).save(tmp_path / "shown.png")
        frames = read_image(tmp_path / "shown.png").expand(5, -1, -1, -1)
        write_clip(Clip(frames, 8.0), tmp_path / "clips" / f"0000{case.index}-00.mp4")
    path = score(
        benchmark, prompts, tmp_path / "clips", tmp_path / "out", name="m", device="cpu",
        allow_duplicates=True,
    )  # fmt: skip
    right, wrong = read_result(path).frame()["starts-at"]
    assert right > 0.98 and wrong == pytest.approx(1 - (128 + 255) / 3 / 255, abs=0.02)
    with pytest.raises(UsageError, match="starts-at needs the key 'first_frame' of each"):
        ready([(replace(MOVING, rewards="starts-at"), FEW)], {})


def test_first_frames_are_checked_when_the_prompts_are_read(first_frames, tmp_path):
    benchmark = get("image-to-video-prompts")
    with pytest.raises(UsageError, match="drawbench is a list of texts, and image-to-video starts"):
        benchmark.on("drawbench")
    (tmp_path / "blue.png").write_text("no picture")
    with pytest.raises(InputError, match=r"line 2: the first frame .* looks like text"):
        benchmark.on(str(first_frames)).prompts()
