"""Real pictures and clips, in the folder REWARDKIT_TEST_DATA, are scored as anything else."""

import json
import os
from pathlib import Path

import pytest

import rewardkit
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import list_rewards
from rewardkit.media.clips import read_clip
from rewardkit.media.sources import find

pytestmark = pytest.mark.data
# They read pictures of the embedded world alone.
JUDGES = {"shapes-correct", "shapes-graded", "shapes-motion"}
# Two frames of the largest clips take them seconds and a gigabyte on a CPU.
LARGE = {"dynamic-degree.raft", "motion-smoothness.raft"}
# The largest clip has 126 frames of a megapixel, and every dimension looks at all it is given.
FRAMES = 6
ASKED = {
    "prompt": "a photo of a cat",
    "text": "cat",
    "tag": "single_object",
    "include": [{"class": "cat", "count": 1}],
}


@pytest.fixture
def folder(monkeypatch):
    real = Loader.__init__
    monkeypatch.setattr(Loader, "__init__", lambda self, *a, **k: real(self, *a, **k, tiny=True))
    monkeypatch.setattr("rewardkit.engine.items._made_by", lambda *_: {})
    return Path(os.environ["REWARDKIT_TEST_DATA"])


@pytest.mark.parametrize("kind", ["image", "video"])
def test_every_reward_scores_real_files(folder, kind, tmp_path):
    manifest = tmp_path / "manifest.jsonl"
    paths = [str(Path(item.path).resolve()) for item in find([str(folder)], kind).items]
    manifest.write_text("".join(json.dumps({"path": path, **ASKED}) + "\n" for path in paths))
    # What a service would answer is not asked here.
    here = [card.name for card in list_rewards(kind) if not card.needs_endpoint]
    spec = "+".join(name for name in here if name not in JUDGES | LARGE)
    frames = FRAMES if kind == "video" else None
    report = rewardkit.score_folder(manifest, spec, kind=kind, batch_size=4, frames=frames)
    assert len(report.rows) >= {"image": 7, "video": 3}[kind]
    assert [row.error for row in report.rows if row.error] == []
    assert all(score is not None for row in report.rows for score in row.scores.values())


def test_a_real_clip_has_its_own_rate(folder):
    clip = read_clip(folder / "videoalign" / "example_1_A.mp4")
    assert list(clip.frames.shape) == [126, 3, 752, 1360] and clip.fps == pytest.approx(24)
