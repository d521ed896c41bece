"""Best of N: the kept sample is the best of those that are scored, and can be made again."""

import json
from dataclasses import replace

import pytest
import tiny_policies
import tiny_runs
import tiny_videos
import torch
from click.testing import CliRunner

from grpo import best_of
from grpo.cli import main
from grpo.cli.sample import _service
from grpo.config.fields import ScoringConfig
from grpo.rewards import Rewards
from grpo.train import train
from rewardkit.engine.registry import resolve
from rewardkit.engine.spec import parse
from rewardkit.errors import UsageError
from rewardkit.generators.noise import sample_seed
from rewardkit.generators.pipelines import generate, load
from rewardkit.generators.requests import Request
from rewardkit.media.clips import read_clip
from rewardkit.media.images import read_image
from rewardkit.media.prompts import PromptLine
from rewardkit.service import Endpoint


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("pipelines")
    return tiny_policies.saved(home)


def quick(folder):
    """A pipeline of two steps."""
    pipeline = load(folder, device="cpu")
    return replace(pipeline, protocol=pipeline.protocol.changed({"steps": 2}))


def made(pipeline, folder, spec, lines, **changes):
    parsed = parse(spec, resolve)
    settings = {"number": 5, "batch_size": 2, "seed": 3, **changes}
    loads = lambda: Rewards(spec, "cpu", ScoringConfig())  # noqa: E731
    manifest = best_of.best_of(pipeline, loads, parsed, lines, folder, **settings)
    return [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]


LINES = [PromptLine("1", "a red ring", {"tag": "one"}), PromptLine("2", "two boxes")]


def test_the_best_of_n_is_kept_and_can_be_made_again(folders, tmp_path):
    pipeline = quick(folders["sd"])
    rows = made(pipeline, tmp_path / "out", "2*sharpness+0.5*contrast", LINES)
    assert [row["prompt"] for row in rows] == ["a red ring", "two boxes"]
    assert rows[0]["tag"] == "one"
    rewards = Rewards("2*sharpness+0.5*contrast", "cpu", ScoringConfig())
    for i, (row, line) in enumerate(zip(rows, LINES, strict=True)):
        requests = [Request(line.prompt, sample_seed(3, i, j)) for j in range(5)]
        media = list(generate(pipeline, requests, batch_size=2))
        scores = {name: v[0] for name, v in rewards(media, [line], 5).items()}
        assert row["scores"] == {name: v.tolist() for name, v in scores.items()}
        total = 2 * scores["sharpness"] + 0.5 * scores["contrast"]
        best = int(total.argmax())
        assert (row["sample"], row["seed"]) == (best, sample_seed(3, i, best))
        assert torch.equal(read_image(tmp_path / "out" / row["path"]), media[best])
    assert {row["sample"] for row in rows} != {0}  # else the first of each would do


def test_an_interrupted_run_goes_on_with_the_next_prompt(folders, tmp_path, monkeypatch):
    pipeline = quick(folders["sd"])
    whole = made(pipeline, tmp_path / "whole", "sharpness", LINES)
    real, drawn = best_of._best, []

    def best(pipeline, rewards, line, *rest):
        drawn.append(line.prompt)
        if drawn == ["a red ring", "two boxes"]:
            raise KeyboardInterrupt
        return real(pipeline, rewards, line, *rest)

    monkeypatch.setattr(best_of, "_best", best)
    with pytest.raises(KeyboardInterrupt):
        made(pipeline, tmp_path / "out", "sharpness", LINES)
    assert made(pipeline, tmp_path / "out", "sharpness", LINES) == whole
    assert drawn == ["a red ring", "two boxes", "two boxes"]
    for row in whole:
        one, other = (tmp_path / name / row["path"] for name in ("whole", "out"))
        assert one.read_bytes() == other.read_bytes()
    with pytest.raises(UsageError, match="best_of was 5, now 6"):
        made(pipeline, tmp_path / "out", "sharpness", LINES, number=6)


@pytest.mark.slow
def test_the_command_takes_a_run(folders, tmp_path):
    asked = tiny_runs.config(folders["sd"], top={"steps": 1})
    train(asked, out=tmp_path / "run", device="cpu")
    out = tmp_path / "out"
    called = [str(tmp_path / "run"), "-r", "sharpness", "-o", str(out), "-n", "1", "--best-of", "2"]
    shown = CliRunner().invoke(main, ["sample", *called, "--device", "cpu"], catch_exceptions=False)
    (row,) = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    assert shown.stdout.strip() == str(out / "manifest.jsonl")
    assert row["prompt"] == tiny_runs.PROMPTS[0] and len(row["scores"]["sharpness"]) == 2
    assert read_image(out / row["path"]).shape[0] == 3


@pytest.mark.slow
def test_the_best_of_clips_is_a_clip(tmp_path):
    pipeline = load(tiny_videos.saved("wan", tmp_path), device="cpu")
    pipeline = replace(pipeline, protocol=tiny_videos.PROTOCOLS["wan"])
    (row,) = made(pipeline, tmp_path / "out", "temporal-stability", LINES[:1], number=3)
    (scores,) = row["scores"].values()
    assert len(scores) == 3 and scores[row["sample"]] == max(scores)
    assert read_clip(tmp_path / "out" / row["path"]).frames.ndim == 4


BEST = ["--best-of", "4", "-o", "out"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--best-of", "4"],
            "--best-of needs a reward to choose by (-r) and an output folder (-o)",
        ),
        (["-r", "sharpness"], "go with --best-of N"),
        (["--endpoint", "http://127.0.0.1:9/v1"], "go with --best-of N"),
        ([*BEST, "-r", "hps", "--weights", "hsp.v2.1=x"], "unknown name of weights 'hsp.v2.1'"),
        ([*BEST, "-r", "sharpness", "--reward-device", "gpu"], "gpu"),
        ([*BEST, "-r", "judge"], "judge.yes calls a service, and no endpoint is given"),
        (
            [*BEST, "-r", "sharpness", "--endpoint", "http://127.0.0.1:9/v1"],
            "none of sharpness calls one",
        ),
        ([*BEST, "-r", "judge", "--judge-model", "x"], "give --endpoint URL"),
        (["--best-of", "4", "-r", "sharpness+contrast", "-o", "x"], "Give weights"),
        (["--best-of", "4", "-r", "win-rate:hps", "-o", "x"], "serves training only"),
        (["--best-of", "4", "-r", "hps", "-o", "x"], "shapes-sd is no run"),
    ],
)
def test_what_cannot_be_chosen_is_refused_before_anything_is_loaded(
    arguments, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").touch()
    monkeypatch.setattr("rewardkit.generators.pipelines.load", None)
    refused = CliRunner().invoke(main, ["sample", "shapes-sd", *arguments])
    assert refused.exit_code == 2 and reason in refused.stderr


def test_an_endpoint_is_called_as_the_options_say():
    endpoint = Endpoint("http://127.0.0.1:9/v1", "judge-8b", concurrency=3, timeout=7)
    assert ScoringConfig(**_service(endpoint)).service == endpoint
