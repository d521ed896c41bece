"""Real pictures and clips, in the folder REWARDKIT_TEST_DATA, are scored as anything else."""

import os
from pathlib import Path

import pytest

import rewardkit
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import list_rewards
from rewardkit.media.clips import read_clip

pytestmark = pytest.mark.data
# They read pictures of the embedded world alone.
JUDGES = {"shapes-correct", "shapes-graded"}


@pytest.fixture
def folder(monkeypatch):
    real = Loader.__init__
    monkeypatch.setattr(Loader, "__init__", lambda self, *a, **k: real(self, *a, **k, tiny=True))
    monkeypatch.setattr("rewardkit.engine.folder._made_by", lambda *_: {})
    return Path(os.environ["REWARDKIT_TEST_DATA"])


@pytest.mark.parametrize("kind", ["image", "video"])
def test_every_reward_scores_real_files(folder, kind):
    spec = "+".join(card.name for card in list_rewards(kind) if card.name not in JUDGES)
    report = rewardkit.score_folder(folder, spec, kind=kind, prompt="a photo", batch_size=4)
    assert len(report.rows) >= {"image": 7, "video": 3}[kind]
    assert [row.error for row in report.rows if row.error] == []
    assert all(score is not None for row in report.rows for score in row.scores.values())


def test_a_real_clip_has_its_own_rate(folder):
    clip = read_clip(folder / "videoalign" / "example_1_A.mp4")
    assert list(clip.frames.shape) == [126, 3, 752, 1360] and clip.fps == pytest.approx(24)
