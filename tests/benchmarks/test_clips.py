"""A benchmark of clips goes the way of one of pictures: made, checked, scored, ranked."""

from dataclasses import replace

import pytest
import tiny_videos
import torch
from tiny_benchmarks import CASES, TINY, save

from benchmarks.media import check, make
from benchmarks.prompts import PromptSet
from benchmarks.reading import read_result
from benchmarks.runner import ready, score
from leaderboards.assemble import leaderboard
from leaderboards.tables import tables
from rewardkit.errors import InputError, UsageError
from rewardkit.generators.pipelines import load
from rewardkit.media.batch import Clip
from rewardkit.media.clips import write_clip

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
