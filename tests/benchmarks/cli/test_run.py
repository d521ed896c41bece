"""`rewardkit bench` from a model, or pictures, to a result."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_benchmarks import changed, fill, said, without_prompts

from benchmarks.benchmark import Suite
from benchmarks.reading import read_result
from rewardkit.cli import main
from rewardkit.generators import gallery
from rewardkit.generators.pipelines import load
from rewardkit.generators.protocol import CARD

STEPS = ("--steps", "2")
FLOW = ("--model", "shapes-flow", "--device", "cpu", *STEPS)


def bench(*args, code=0):
    done = CliRunner().invoke(main, ["bench", *map(str, args)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.fixture
def prompts(tmp_path):
    """A file of three prompts in two tasks."""
    path = tmp_path / "three.jsonl"
    lines = [("a red ring", "colors"), ("two boxes", "counting"), ("a blue star", "colors")]
    path.write_text("".join(json.dumps({"prompt": p, "tag": t}) + "\n" for p, t in lines))
    return path


def asked(prompts, *more):
    return ("prompts", "-p", prompts, "-r", "sharpness+contrast", "--samples", 2, *more)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def test_a_run_leaves_pictures_rows_and_a_result(prompts, out):
    done = bench("run", *asked(prompts), *FLOW, "-o", out)
    path = out / "shapes-flow.prompts-three.json"
    assert f"result: {path}" in done.stderr
    assert done.stderr.startswith("6 pictures x 2 steps = 12 inference steps\n")
    assert sorted(path.name for path in out.iterdir()) == [
        "pictures",
        "shapes-flow.prompts-three.json",
        "shapes-flow.prompts-three.parquet",
        "shapes-flow.prompts-three.parquet.meta.json",
    ]
    assert len(list((out / "pictures" / "shapes-flow.three").glob("*.png"))) == 6
    result = read_result(path)
    assert result.benchmark.name == "prompts/three" and result.benchmark.metric == "sharpness"
    assert result.model.alias == "shapes-flow" and result.protocol.sampling["steps"] == 2
    assert list(result.tasks) == ["colors", "counting"]
    for text in ("prompts/three: shapes-flow", "sharpness", "  colors", "contrast"):
        assert text in done.stdout
    # Run again, it makes nothing and says the same.
    before = said(path)
    again = bench("run", *asked(prompts, "--json"), *FLOW, "-o", out)
    assert "inference steps" not in again.stderr and said(path) == before
    assert json.loads(again.stdout)["score"] == result.score


def test_generating_and_scoring_apart_is_a_run(prompts, out, tmp_path):
    bench("run", *asked(prompts), *FLOW, "-o", out)
    made = bench("generate", "prompts", "-p", prompts, "--samples", 2, *FLOW, "-o", tmp_path / "p")
    assert made.stdout.strip() == str(tmp_path / "p")
    options = ("prompts", "-p", prompts, "-r", "sharpness+contrast", "--images", tmp_path / "p")
    # The card of the pictures says what made them, and how many there are of each prompt.
    bench("score", *options, "-o", tmp_path / "other", "--device", "cpu")
    result, rows = said(tmp_path / "other" / "shapes-flow.prompts-three.json")
    two, others = said(out / "shapes-flow.prompts-three.json")
    assert result.pop("media")["sha256"] == two.pop("media")["sha256"]
    assert result == two
    assert [(row.id, row.scores) for row in rows] == [(row.id, row.scores) for row in others]


def test_shards_of_a_run_are_merged_to_the_whole(prompts, out, tmp_path):
    """All that results/*.shard-*.json names may be given: also what lies beside the rows."""
    bench("run", *asked(prompts), *FLOW, "-o", tmp_path / "whole")
    for number in (2, 3, 1):
        bench("run", *asked(prompts, "--shard", f"{number}/3"), *FLOW, "-o", out)
    parts = sorted(out.glob("*.shard-*.json"))
    # What the list is called meanwhile does not matter.
    moved = prompts.rename(prompts.with_name("renamed.jsonl"))
    done = bench("merge", *parts, "-p", moved)
    path = out / "shapes-flow.prompts-three.json"
    assert str(path) in done.stderr and "incomplete" not in done.stdout
    merged, rows = said(path)
    whole, others = said(tmp_path / "whole" / path.name)
    merged["prompts"].pop("source"), whole["prompts"].pop("source")
    assert merged == whole and rows == others
    assert "prompts/three: shapes-flow" in done.stdout


def test_a_merge_without_the_prompts_or_with_others_is_refused(prompts, out, tmp_path):
    bench("generate", "prompts", "-p", prompts, *FLOW, "-o", tmp_path / "p")
    for number in (1, 2):
        options = ("prompts", "-p", prompts, "-r", "contrast", "--shard", f"{number}/2", "-o", out)
        bench("score", *options, "--images", tmp_path / "p")
    parts = sorted(out.glob("*.shard-?-of-2.json"))
    assert "choose them with -p" in bench("merge", *parts, code=2).stderr
    (tmp_path / "other.txt").write_text("a\nb\nc\n")
    assert "other prompts" in bench("merge", *parts, "-p", tmp_path / "other.txt", code=1).stderr
    assert "shard 2/2 is missing" in bench("merge", parts[0], "-p", prompts, code=1).stderr
    done = bench("merge", parts[0], parts[0], parts[1], "-p", prompts, code=2)
    assert "every shard of one total number once" in done.stderr


def test_a_merge_of_another_version_of_the_benchmark_is_refused(tiny, folder, out):
    for number in (1, 2):
        options = ("--images", folder, "-o", out, "--name", "m", "--shard", f"{number}/2")
        bench("score", "tiny", *options)
    parts = sorted(out.glob("*.shard-?-of-2.json"))
    assert "m.tiny.json" in bench("merge", *parts).stderr
    changed(parts[0], benchmark={"version": "0"})
    assert "tiny, version 0, which" in bench("merge", *parts, code=1).stderr
    done = bench("merge", *out.glob("*.meta.json"), code=2)
    assert "no result is given" in done.stderr


def test_pictures_made_elsewhere_need_a_name(tiny, folder, out):
    done = bench("score", "tiny", "--images", folder, "-o", out, code=2)
    assert "give --name" in done.stderr and not out.exists()
    bench("score", "tiny", "--images", folder, "-o", out, "--name", "them",
          "--trained-on", "0.5*clip")  # fmt: skip
    result = read_result(out / "them.tiny.json")
    assert result.model.trained_on == {"reward": "0.5*clip.vit-l-14"}


def test_what_is_missing_is_refused_or_marked(tiny, folder, out):
    (folder / "00003-01.png").unlink()
    options = ("tiny", "--images", folder, "-o", out, "--name", "them")
    refused = bench("score", *options, code=1)
    assert "00003-01" in refused.stderr and not (out / "them.tiny.json").exists()
    done = bench("score", *options, "--allow-partial")
    assert "incomplete: 13 of 14 pictures" in done.stdout and "3 of 4" in done.stdout


def test_one_picture_of_a_prompt_is_asked_for_with_samples(prompts, tmp_path, out):
    options = ("prompts", "-p", prompts, "-r", "contrast")
    done = bench("run", "hps", "--samples", 3, *FLOW, "-o", out, code=2)
    assert "hps.v2.1 takes one sample per prompt" in done.stderr
    bench("generate", "prompts", "-p", prompts, *FLOW, "-o", tmp_path / "p")
    bench("score", *options, "--images", tmp_path / "p", "-o", out)
    assert read_result(next(out.glob("*.json"))).protocol.samples == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "shape", *FLOW), "'shapes'"),
        (("run", "shapes", "--model", "shapes-flo"), "shapes-flow"),
        (("run", "shapes", "-p", "x.txt", *FLOW), "shapes has its own prompts"),
        (("run", "shapes", "-r", "hps", *FLOW), "shapes has its own rewards"),
        (("run", "prompts", *FLOW), "choose them with -p"),
        (("run", "prompts", "-p", "drawbench", *FLOW), "choose them with -r"),
        (("run", "paper", "--samples", "2", *FLOW), "paper has its own"),
        (("run", "shapes", "--shard", "9/8", *FLOW), "a shard is written 3/8"),
        (("run", "shapes", "--with-base", *FLOW), "--with-base goes with --tuned"),
        (("run", "shapes", "--steps", "0", "--model", "shapes-flow"), "steps"),
        (("run", "shapes", "--weights", "x", *FLOW), "NAME=PATH"),
        (("run", "shapes", "--name", "../x", *FLOW), "begins with a letter"),
        (("score", "shapes", "--images", "nowhere"), "nowhere"),
        (("score", "paper", "--images", "."), "score each by itself"),
        (("generate", "shapes", "--model", "shapes-flow"), "--out"),
        (("compare", "a.json", "b.json"), "a.json"),
        (("merge",), "SHARDS"),
        (("rnu",), "'run'"),
    ],
)
def test_wrong_usage_is_told_and_starts_nothing(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = bench(*args, code=2)
    assert message in done.stderr and done.stdout == ""
    assert not list(tmp_path.rglob("*.png"))


def test_a_reward_that_cannot_be_had_is_told_before_a_picture_is_made(
    home, prompts, out, monkeypatch
):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    done = bench("run", "prompts", "-p", prompts, "-r", "clip", *FLOW, "-o", out, code=1)
    assert "clip" in done.stderr and not out.exists()


def test_a_generator_that_fails_midway_leaves_what_is_done(prompts, out, monkeypatch):
    def failing(*args, **options):
        for n, picture in enumerate(made(*args, **options)):
            if Path(out / "pictures/shapes-flow.three/00000-01.png").exists() and n == 1:
                raise RuntimeError("out of memory")
            yield picture

    made = gallery.generate
    monkeypatch.setattr(gallery, "generate", failing)
    done = CliRunner().invoke(
        main, ["bench", "run", *map(str, asked(prompts)), *FLOW, "-o", str(out)]
    )
    assert isinstance(done.exception, RuntimeError)
    left = {path.name: path.read_bytes() for path in out.rglob("*.png")}
    assert sorted(left) == ["00000-00.png", "00000-01.png", "00001-00.png"]
    assert not list(out.glob("*.json"))
    monkeypatch.setattr(gallery, "generate", made)
    done = bench("run", *asked(prompts), *FLOW, "-o", out)
    assert "3 pictures x 2 steps = 6 inference steps, 3 are there" in done.stderr
    after = {path.name: path.read_bytes() for path in out.rglob("*.png")}
    assert len(after) == 6 and left.items() <= after.items()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny model with what two runs trained of it: a LoRA, and all weights."""
    import tiny_policies
    import tiny_runs

    from grpo.train import train

    home = tmp_path_factory.mktemp("trained")
    model = tiny_policies.saved(home)["sd3"]
    runs = {
        kind: train(
            tiny_runs.config(model, policy={"parameters": kind}, top={"steps": 1}),
            out=home / kind,
            device="cpu",
        )
        for kind in ("lora", "full")
    }
    return model, {kind: run.folder for kind, run in runs.items()}


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_trained_model_is_compared_with_its_base(kind, trained, prompts, out):
    model, runs = trained
    options = ("--model", model, "--tuned", runs[kind], "--with-base", *STEPS)
    done = bench("run", *asked(prompts), *options, "--device", "cpu", "-o", out)
    base = read_result(out / "sd3.prompts-three.json")
    tuned = read_result(out / f"sd3+{kind}.prompts-three.json".replace("+", "-"))
    assert base.model.name == "sd3" and tuned.model.name == f"sd3+{kind}"
    assert base.model.trained_on is None
    assert tuned.model.trained_on["reward"] == "sharpness" and tuned.model.lora is not None
    assert base.media.sha256 != tuned.media.sha256
    assert "difference" in done.stdout and "not separable" in done.stdout
    assert f"sd3+{kind} was trained on sharpness" in done.stderr
    output = bench("run", *asked(prompts, "--json"), *options, "--device", "cpu", "-o", out)
    assert [result["model"]["name"] for result in json.loads(output.stdout)] == [
        "sd3",
        f"sd3+{kind}",
    ]


def test_a_base_model_is_sampled_as_its_tuned_one(trained, prompts, out, tmp_path):
    model, runs = trained
    run = shutil.copytree(runs["lora"], tmp_path / "run")
    card = json.loads((run / "model" / CARD).read_text())
    own = load(model).protocol
    card["protocol"] |= {"steps": 3, "guidance": 2.5}
    assert (own.steps, own.guidance) != (3, 2.5)
    (run / "model" / CARD).write_text(json.dumps(card))
    options = ("--model", model, "--tuned", run, "--with-base", "--device", "cpu")
    done = bench("run", *asked(prompts), *options, "-o", out)
    base, tuned = (
        read_result(out / f"{name}.prompts-three.json").protocol for name in ("sd3", "sd3-run")
    )
    assert base == tuned and base.sampling["steps"] == 3 and base.sampling["guidance"] == 2.5
    assert "made with different settings" not in done.stderr
    again = bench("run", *asked(prompts), *options, "--steps", 4, "-o", out, code=2)
    assert "protocol.steps was 3, now 4" in again.stderr


def test_a_trained_model_cannot_be_called_as_its_base(trained, prompts, out):
    model, runs = trained
    options = ("--model", model, "--tuned", runs["lora"], "--with-base", "--name", "sd3")
    done = bench("run", *asked(prompts), *options, "-o", out, code=2)
    assert "sd3 is the name of the base model" in done.stderr


def test_a_suite_runs_all_its_parts(known, prompts, out):
    free = without_prompts()
    parts = [free.on(str(prompts)).by(reward) for reward in ("contrast", "sharpness")]
    named = [replace(part, name=f"tiny/{i}", media=f"set-{i}") for i, part in enumerate(parts)]
    known(Suite("both", "two at once", lambda: named))
    done = bench("run", "both", *FLOW, "-o", out)
    assert {path.name for path in out.glob("shapes-flow.tiny-?.json")} == {
        "shapes-flow.tiny-0.json",
        "shapes-flow.tiny-1.json",
    }
    assert "tiny/0: shapes-flow" in done.stdout and "tiny/1: shapes-flow" in done.stdout


def test_results_are_compared_by_command(tiny, folder, out, tmp_path):
    fill(tmp_path / "others", seed=40)
    for name, images in (("one", folder), ("two", tmp_path / "others")):
        bench("score", "tiny", "--images", images, "-o", out, "--name", name)
    paths = out / "one.tiny.json", out / "two.tiny.json"
    shown = bench("compare", *paths)
    for text in ("difference", "  rings", "colorfulness", "not separable", "four times in five"):
        assert text in shown.stdout
    comparison = json.loads(bench("compare", *paths, "--json").stdout)
    headline = comparison["metrics"]["sharpness"]["headline"]
    assert headline["detectable"] > 0 and 0.05 <= headline["p_value"] <= 1
    assert headline["before"] == read_result(paths[0]).score
    assert (
        comparison["base"] == "one"
        and comparison["pictures"] == 14
        and comparison["warnings"] == []
    )
    (out / "two.tiny.json").write_text("{}")
    assert "no result of `rewardkit bench`" in bench("compare", *paths, code=1).stderr


@pytest.mark.slow
@pytest.mark.parametrize("wait_for", ["00001-00.png", "*.journal"])
def test_a_process_that_is_killed_goes_on_to_the_same_result(wait_for, prompts, out, tmp_path):
    bench("run", *asked(prompts), *FLOW, "-o", tmp_path / "whole")
    command = [sys.executable, "-m", "rewardkit.cli", "bench", "run", *map(str, asked(prompts))]
    process = subprocess.Popen(
        [*command, *FLOW, "-o", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while process.poll() is None and not any(out.rglob(wait_for)):
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    bench("run", *asked(prompts), *FLOW, "-o", out)
    name = "shapes-flow.prompts-three.json"
    assert said(out / name) == said(tmp_path / "whole" / name)
