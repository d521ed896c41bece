"""A judge's score is what the model at the endpoint answered; whatever goes wrong is an error."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scripted_endpoint import Reply, scripted
from scripted_judge import MODELS, brightness, images, judge, question, save_greys, says, yes

import rewardkit
from rewardkit import Clip, Endpoint, score_folder
from rewardkit.cli import main
from rewardkit.errors import InputError, RewardUnavailable, ScoringError, UsageError
from rewardkit.judging.model import _key
from rewardkit.judging.reading import PACKAGED
from rewardkit.records.provenance import sha256_text
from rewardkit.records.scorefile import meta_path
from rewardkit.service import Service

KEY = "sk-secret-of-this-test"


@pytest.fixture
def endpoint(home, monkeypatch):
    for variable in ("REWARDKIT_ENDPOINT_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setitem(Service.__init__.__kwdefaults__, "pause", 0.001)
    with scripted() as found:
        yield judge(found)


def at(endpoint, **settings):
    return Endpoint(endpoint.url, **settings)


def greys(*levels):
    return [torch.full((3, 6, 8), level, dtype=torch.uint8) for level in levels]


def test_a_score_is_the_probability_that_the_endpoint_answered(endpoint):
    generator = torch.Generator().manual_seed(0)
    pictures = list(torch.randint(0, 256, (3, 3, 7, 5), dtype=torch.uint8, generator=generator))
    prompts = ["a cat", 'a sign "{prompt}"', "ein Käfer"]
    reward = rewardkit.create("judge", endpoint=at(endpoint))
    scores = reward(pictures, prompts)
    for picture, prompt, score in zip(pictures, prompts, scores.tolist(), strict=True):
        (body,) = [body for body in endpoint.calls if f'"{prompt}"' in question(body)]
        (sent,) = images(body)
        assert np.array_equal(sent, picture.permute(1, 2, 0).numpy()), "not a pixel is changed"
        assert score == pytest.approx(brightness(body), abs=1e-6)
        assert (body["temperature"], body["seed"], body["max_tokens"]) == (0, 0, 1)
        assert body["logprobs"] is True and body["top_logprobs"] >= 20
        assert body["model"] == "judge-8b"


def test_the_same_question_about_the_same_pixels_costs_one_call(endpoint, tmp_path):
    def ask(name="judge", level=7, prompt="a cat", settings=None):
        before = len(endpoint.calls)
        reward = rewardkit.create(name, endpoint=at(endpoint, **(settings or {})))
        score = reward(greys(level), prompt).item()
        return score, len(endpoint.calls) - before

    score, calls = ask()
    assert calls == 1
    assert ask() == (score, 0)
    assert ask(settings={"concurrency": 2}) == (score, 0)
    assert ask(level=8)[1] == 1
    assert ask(prompt="a dog")[1] == 1
    mine = tmp_path / "mine.toml"
    mine.write_text((PACKAGED / "yes.toml").read_text("utf-8") + "\n")
    assert ask(f"judge:{mine}")[1] == 1
    served = {"data": [{"id": "judge-8b", "root": "/models/newer"}, {"id": "other"}]}
    endpoint.get = lambda path: Reply(served)
    assert ask(settings={"model": "judge-8b"})[1] == 1
    with scripted() as elsewhere:
        reward = rewardkit.create("judge", endpoint=at(judge(elsewhere)))
        assert reward(greys(7), "a cat").item() == score and len(elsewhere.calls) == 1


# What is answered about the picture of this name, and what of it is in the row.
YES = "0.500"
OUTCOMES = {
    "right": (yes(0.5), YES),
    "prose": (says("As an AI, I cannot answer with one word."), "no log-probabilities.*As an AI"),
    "outside the top": (
        says("No", logprobs={"content": [{"top_logprobs": [{"token": "No", "logprob": -0.1}]}]}),
        "not among the 1 likeliest.*'No'.*add up to 0.9048.* at most 0.0952",
    ),
    "another shape": (Reply({"object": "error"}), "no chat completion.*'object': 'error'"),
    "no json": (Reply(b"<html>hello"), "no JSON: <html>hello"),
    "refused": (Reply({"error": "the image is too large"}, status=400), "400.*too large"),
    "poison": (Reply({"error": "worker died"}, status=500), "500.*worker died.*6 tries"),
    "cut always": (Reply({"choices": []}, cut=True), "did not answer"),
}
# What happens first, before the right answer.
PASSING = {
    "busy": [Reply(status=429, headers={"Retry-After": "0.01"}), Reply(status=429)],
    "broken": [Reply(status=500), Reply(status=502), Reply(status=503)],
    "cut": [Reply({"choices": []}, cut=True)],
    "slow": [Reply(seconds=2.5)],
}


def test_every_outcome_is_the_right_score_or_a_row_with_the_error(endpoint, tmp_path):
    names = [*OUTCOMES, *PASSING]
    save_greys(tmp_path / "in", len(names))
    tries = dict.fromkeys(names, 0)

    def play(number, body):
        name = names[int(images(body)[0][1, 1, 0])]
        tries[name] += 1
        if name in OUTCOMES:
            return OUTCOMES[name][0]
        passing = PASSING[name]
        return passing[tries[name] - 1] if tries[name] <= len(passing) else yes(0.5)

    endpoint.play = play
    out = tmp_path / "scores.jsonl"
    arguments = [tmp_path / "in" / "m.jsonl", "judge"]
    report = score_folder(*arguments, output=out, endpoint=at(endpoint, timeout=2.0))
    for name, row in zip(names, report.rows, strict=True):
        expected = OUTCOMES[name][1] if name in OUTCOMES else YES
        if expected == YES:
            assert row.error is None and row.scores["judge.yes"] == pytest.approx(0.5), name
        else:
            assert row.scores["judge.yes"] is None
            assert re.search(expected, row.error), (name, row.error)
    assert tries["prose"] == tries["refused"] == 1, "trying again would change nothing"
    assert tries["poison"] == 6

    endpoint.play, asked = (lambda number, body: yes(0.25)), len(endpoint.calls)
    again = score_folder(*arguments, output=out, endpoint=at(endpoint))
    assert again.failed == 0 and len(endpoint.calls) - asked == len(OUTCOMES) - 1
    kept = dict(zip(names, (row.scores["judge.yes"] for row in again.rows), strict=True))
    assert kept["right"] == pytest.approx(0.5) and kept["prose"] == pytest.approx(0.25)


@pytest.mark.slow
def test_a_run_whose_endpoint_dies_keeps_what_it_scored_and_resumes(endpoint, tmp_path):
    manifest, out = save_greys(tmp_path / "in", 12), tmp_path / "scores.jsonl"
    dead = Reply(status=503)
    endpoint.play = lambda number, body: yes(brightness(body)) if number < 6 else dead
    endpoint.get = lambda path: Reply(MODELS) if len(endpoint.calls) < 6 else dead
    ask = {"batch_size": 2, "output": out, "endpoint": at(endpoint, concurrency=1)}
    with pytest.raises(RewardUnavailable, match="503"):
        score_folder(manifest, "judge", **ask)
    asked = 0
    while asked < len(endpoint.calls):  # a call that is under way has its tries
        asked = len(endpoint.calls)
        time.sleep(0.5)
    judge(endpoint)
    report = score_folder(manifest, "judge", **ask)
    assert report.failed == 0 and len(report.rows) == 12
    assert report.reused >= 2 and len(endpoint.calls) - asked == 6


@pytest.mark.slow
def test_a_thousand_pictures_with_faults_lose_nothing(endpoint, tmp_path):
    """One call in twenty meets a fault, of each kind in turn."""
    manifest, number = save_greys(tmp_path / "in", 1000), 1000
    faults = [
        Reply(status=429, headers={"Retry-After": "0.01"}), Reply(status=500), Reply(status=503),
        Reply({"choices": []}, cut=True), Reply(status=408),
    ]  # fmt: skip
    expected = {}

    def play(call, body):
        level = int(question(body).partition('"grey ')[2].partition('"')[0])
        expected[f"{level:04d}"] = brightness(body)
        return faults[call // 20 % 5] if call % 20 == 19 else yes(brightness(body))

    endpoint.play = play
    report = score_folder(
        manifest, "judge", output=tmp_path / "scores.parquet", endpoint=at(endpoint)
    )
    assert report.failed == 0
    assert len({row.id for row in report.rows}) == number
    for row in report.rows:
        assert row.scores["judge.yes"] == pytest.approx(expected[Path(row.path).stem], abs=1e-6)
    asked = len(endpoint.calls)
    assert asked == pytest.approx(number * 20 / 19, abs=3) and endpoint.most <= 16
    again = score_folder(manifest, "judge", endpoint=at(endpoint))
    assert [row.scores for row in again.rows] == [row.scores for row in report.rows]
    assert len(endpoint.calls) == asked, "another run costs no call"


def test_a_table_says_which_judge_it_is_from_and_not_its_key(endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("REWARDKIT_ENDPOINT_KEY", KEY)
    manifest, out = save_greys(tmp_path / "in", 2), tmp_path / "scores.jsonl"
    score_folder(manifest, "judge+judge.rubric", output=out, endpoint=at(endpoint))
    assert endpoint.headers["Authorization"] == f"Bearer {KEY}"
    made_by = json.loads(meta_path(out).read_text("utf-8"))["rewards"]
    for name in ("yes", "rubric"):
        template = (PACKAGED / f"{name}.toml").read_text("utf-8")
        assert made_by[f"judge.{name}"] == {
            "sha256 of the template": sha256_text(template),
            "model": "judge-8b",
            "model of the endpoint": "judge-8b (/models/judge)",
        }
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5 and not [path for path in files if KEY.encode() in path.read_bytes()]
    endpoint.get = lambda path: Reply({"data": [{"id": "judge-8b", "root": "/models/newer"}]})
    with pytest.raises(InputError, match="model of the endpoint"):
        score_folder(manifest, "judge+judge.rubric", output=out, endpoint=at(endpoint))


def test_the_key_of_openai_is_sent_to_openai_only_and_over_tls(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    rewardkit.create("judge", endpoint=at(endpoint))(greys(3), "a cat")
    assert "Authorization" not in endpoint.headers
    for url in ("https://api.openai.com/v1", "https://eu.api.openai.com/v1"):
        assert _key(url) == KEY
    for url in ("http://api.openai.com/v1", "https://host/v1", "https://notopenai.com/openai.com"):
        assert _key(url) is None


@pytest.mark.parametrize("variable", ["REWARDKIT_ENDPOINT_KEY", "OPENAI_API_KEY"])
def test_a_key_is_stripped_or_refused_without_being_shown(endpoint, variable, monkeypatch):
    monkeypatch.setenv(variable, "sk-x\n")
    assert _key("https://api.openai.com/v1") == "sk-x"
    for key in (f"\u201c{KEY}\u201d", f"{KEY}\n{KEY}"):
        monkeypatch.setenv(variable, key)
        with pytest.raises(UsageError, match=f"{variable} has a character") as raised:
            _key("https://api.openai.com/v1")
        assert KEY not in str(raised.value)


def test_a_table_of_the_template_changes_the_request(endpoint, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(
        (PACKAGED / "yes.toml").read_text("utf-8").rpartition("# [request]")[0]
        + "[request]\nmax_tokens = false\nseed = 3\nmax_completion_tokens = 1\n"
        "chat_template_kwargs = {enable_thinking = false}\n"
    )
    rewardkit.create(f"judge:{mine}", endpoint=at(endpoint))(greys(3), "a cat")
    (body,) = endpoint.calls
    assert "max_tokens" not in body
    assert (body["temperature"], body["seed"], body["max_completion_tokens"]) == (0, 3, 1)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_frames_of_a_clip_are_sent_in_order_and_evenly_spaced(endpoint):
    levels = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140]
    clip = Clip(torch.stack(greys(*levels)), 8.0)
    rewardkit.create("judge", endpoint=at(endpoint))([clip], "it gets brighter")
    (body,) = endpoint.calls
    assert [int(frame[0, 0, 0]) for frame in images(body)] == levels[::2]
    assert question(body).startswith("These 8 images are frames of one video")
    short = Clip(torch.stack(greys(1, 2, 3)), 8.0)
    rewardkit.create("judge", endpoint=at(endpoint))([short], "it gets brighter")
    assert len(images(endpoint.calls[-1])) == 3


def test_a_template_of_the_users_is_a_reward(endpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sharp.toml").write_text(
        'form = "scores"\nsummary = "Sharper."\nnames = ["Sharpness"]\nlowest = 0\nhighest = 100\n'
        'max_tokens = 20\ntext = "Is it sharp? End with: Sharpness: X"\n'
    )
    endpoint.play = lambda number, body: says("Sharpness: 30")
    reward = rewardkit.create("judge:sharp.toml", endpoint=at(endpoint))
    assert reward(greys(3)).item() == 30 and reward.card.name == "judge:./sharp.toml"
    assert (reward.card.range, reward.card.needs_prompt) == ((0, 100), False)
    assert question(endpoint.calls[0]) == "Is it sharp? End with: Sharpness: X"
    with pytest.raises(UsageError, match=r"judge:FILE\.toml"):
        rewardkit.create("judge:./gone.toml", endpoint=at(endpoint))


def test_the_model_is_one_that_the_endpoint_serves(endpoint):
    with pytest.raises(UsageError, match="judge-8b"):
        rewardkit.create("judge", endpoint=at(endpoint, model="judge-9b"))
    endpoint.get = lambda path: Reply({"data": [{"id": "small"}, {"id": "large"}]})
    with pytest.raises(UsageError, match="serves 2 models: small, large"):
        rewardkit.create("judge", endpoint=at(endpoint))
    for listed in ({}, {"data": []}, [], {"data": [{"name": "x"}]}):
        endpoint.get = lambda path, listed=listed: Reply(listed)
        with pytest.raises(RewardUnavailable, match="lists no models"):
            rewardkit.create("judge", endpoint=at(endpoint, model="small"))
    endpoint.get = lambda path: Reply({"detail": "Not Found"}, status=404)
    with pytest.raises(RewardUnavailable, match=r"404: .*Not Found.*ends in /v1"):
        rewardkit.create("judge", endpoint=at(endpoint))
    for page in (
        Reply(b"<html>"),
        Reply(status=301, headers={"Location": "http://host/v1/models"}),
    ):
        endpoint.get = lambda path, page=page: page
        with pytest.raises(RewardUnavailable, match=r"(<html>|host/v1/models)\. .*ends in /v1"):
            rewardkit.create("judge", endpoint=at(endpoint))


def test_scores_are_of_one_model_or_the_run_stops(endpoint):
    names = ["vendor-2026-01", "vendor-2026-01", "vendor-2026-09"]
    endpoint.play = lambda number, body: yes(0.5, model=names[number])
    reward = rewardkit.create("judge", endpoint=at(endpoint, concurrency=1))
    with pytest.raises(RewardUnavailable, match=r"vendor-2026-09.*vendor-2026-01"):
        reward(greys(1, 2, 3), "a cat")


def test_a_sample_that_cannot_be_scored_is_named_in_python(endpoint):
    endpoint.play = lambda number, body: says("Well.") if brightness(body) > 0.5 else yes(0.5)
    with pytest.raises(ScoringError, match=r"sample 1 cannot be scored.*'Well\.'"):
        rewardkit.create("judge", endpoint=at(endpoint))(greys(3, 200, 5), "a cat")


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-r", "judge"], "judge.yes calls a service.*--endpoint URL.*--judge-model"),
        (["-r", "judge", "--judge-model", "x"], "--judge-model .*give --endpoint URL"),
        (["-r", "sharpness", "--concurrency", "4"], "--concurrency .*give --endpoint URL"),
        (["-r", "sharpness", "--timeout", "4"], "--timeout .*give --endpoint URL"),
        (["-r", "judge", "--endpoint", "http://[bad/v1"], "is not an address"),
        (["-r", "judge", "--endpoint", "localhost:8000"], "is not an address"),
        (["-r", "sharpness", "--endpoint", "http://127.0.0.1:9/v1"], "none of sharpness calls"),
        (["-r", "judge:gone.toml"], "no template 'gone.toml'"),
    ],
)
def test_a_request_without_what_it_takes_says_what_to_give(arguments, reason, tmp_path):
    save_greys(tmp_path / "in", 1)
    done = run("score", tmp_path / "in", "--prompt", "a cat", *arguments)
    assert done.exit_code == 2
    assert re.search(reason, done.stderr), done.stderr


def test_judges_are_listed_and_shown_without_an_endpoint():
    listed = run("list").stdout
    for name in ("judge.yes", "judge.scores", "judge.points", "judge.rubric"):
        assert name in listed
    shown = run("show", "judge").stdout
    assert "judge.yes" in shown and "endpoint" in shown and "8 frames" in shown


def test_the_command_scores_by_the_named_model(endpoint, tmp_path):
    manifest = save_greys(tmp_path / "in", 3)
    options = ["--endpoint", endpoint.url, "--judge-model", "judge-8b", "--concurrency", "2"]
    done = run("score", manifest, "-r", "judge", *options, "--json")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [math.fsum([level / 256, 1 / 512]) for level in (0, 1 + 0 / 48, 2)]
    assert [row["scores"]["judge.yes"] for row in rows] == pytest.approx(expected, abs=0.01)
    assert endpoint.most <= 2


@pytest.mark.slow
def test_ctrl_c_ends_a_run_though_calls_are_under_way(endpoint, tmp_path):
    manifest = save_greys(tmp_path / "in", 40)
    endpoint.play = lambda number, body: Reply(seconds=300)
    # A shell may have started the tests in the background, where they and theirs ignore Ctrl-C.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}; from rewardkit.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "score", str(manifest), "-r", "judge", "--endpoint", endpoint.url],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
    )  # fmt: skip
    while not endpoint.calls and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)  # an answer would be waited for for 120 s
    assert process.returncode == 130 and "Traceback" not in said, said
