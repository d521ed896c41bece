"""A medium becomes a file of its kind, whose extension the task tells beforehand."""

import pytest
import torch

from rewardkit.media.batch import Clip
from rewardkit.media.clips import read_clip
from rewardkit.media.images import read_image
from rewardkit.media.task import TASKS
from rewardkit.media.writing import suffix_of, write_medium

PICTURE = torch.arange(3 * 16 * 16).to(torch.uint8).reshape(3, 16, 16)


def test_a_picture_is_written_without_loss_and_a_clip_with_its_rate(tmp_path):
    picture = write_medium(PICTURE, tmp_path / "a.b")
    clip = write_medium(Clip(PICTURE.expand(5, 3, 16, 16), 8.0), tmp_path / "c")
    assert (picture.name, clip.name) == ("a.b.png", "c.mp4")
    assert torch.equal(read_image(picture), PICTURE)
    again = read_clip(clip)
    assert again.frames.shape == (5, 3, 16, 16) and again.fps == pytest.approx(8.0)


def test_a_task_tells_the_extension_of_its_files():
    assert [suffix_of(task) for task in TASKS] == [".png", ".mp4", ".mp4", ".png"]
