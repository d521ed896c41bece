"""VideoAlign's benchmark is run on prompts that the user names, by one network."""

import pytest
from click.testing import CliRunner
from golden.media import clip

from benchmarks.benchmark import get
from benchmarks.reading import read_result
from leaderboards.page.command import command
from rewardkit.cli import main
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.spec import parse
from rewardkit.errors import UsageError
from rewardkit.media.clips import write_clip

VIDEOALIGN = get("videoalign")
NAMES = ("videoalign.overall", "videoalign.vq-raw", "videoalign.mq-raw", "videoalign.ta-raw")


def test_all_scores_come_from_one_network():
    spec = parse(VIDEOALIGN.rewards, resolve)
    assert spec.names == NAMES
    assert len({entry(name).card.weights for name in spec.names}) == 1


def test_prompts_are_chosen_and_name_the_result():
    with pytest.raises(UsageError, match="has no prompts of its own: choose them with -p"):
        VIDEOALIGN.on(None)
    for name in ("ta-hard", "vbench"):
        assert VIDEOALIGN.on(name).name == f"videoalign/{name}"
        # Clips of a list are made once, whatever scores them.
        assert VIDEOALIGN.on(name).media == get("video-prompts").on(name).media
    with pytest.raises(UsageError, match="has its own rewards"):
        VIDEOALIGN.by("hps.frames")


@pytest.fixture
def tiny(monkeypatch):
    """Rewards of small random networks: nothing is downloaded."""
    real = Loader.__init__
    monkeypatch.setattr(Loader, "__init__", lambda self, *a, **k: real(self, *a, **k, tiny=True))
    made_by = {"rewards": {name: {} for name in NAMES}}
    monkeypatch.setattr("rewardkit.engine.items._made_by", lambda *_: made_by)


def bench(*arguments):
    done = CliRunner().invoke(main, ["bench", *map(str, arguments)])
    assert done.exit_code == 0, done.output


def test_clips_from_elsewhere_are_scored_by_command_and_shards_are_merged(tiny, tmp_path):
    folder, prompts = tmp_path / "clips", tmp_path / "mine.txt"
    folder.mkdir()
    prompts.write_text("a ring moves\ntwo boxes\n")
    for number in range(2):
        drifting = clip(number, (56, 56), frames=6, velocity=(2.0, 0.0))
        write_clip(drifting, folder / f"{number:05d}.mp4")
    media = ("videoalign", "-p", prompts, "--media", folder, "--name", "m", "--device", "cpu")
    bench("score", *media, "-o", tmp_path / "whole")
    whole = read_result(tmp_path / "whole" / "m.videoalign-mine.json")
    assert whole.complete and whole.benchmark.task == "text-to-video"
    assert tuple(whole.metrics) == NAMES and whole.benchmark.metric == NAMES[0]
    assert "--reward" not in " ".join(command(whole))
    out = tmp_path / "parts"
    for number in (1, 2):
        bench("score", *media, "--shard", f"{number}/2", "-o", out)
    bench("merge", *sorted(out.glob("*.json")), "-p", prompts)
    merged = read_result(out / "m.videoalign-mine.json")
    assert merged.complete
    for name, metric in whole.metrics.items():
        # The network sees other batches in the shards.
        assert merged.metrics[name].headline.score == pytest.approx(metric.headline.score, abs=1e-5)
