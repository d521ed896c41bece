"""What a sample is worth in training is what `rewardkit score` says of the saved picture."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import scripted_judge
import torch
from click.testing import CliRunner
from PIL import Image
from scripted_endpoint import scripted

from grpo.config.fields import ScoringConfig
from grpo.config.resolve import resolve
from grpo.ready import check
from grpo.rewards import Rewards
from rewardkit.cli import main
from rewardkit.errors import ScoringError, UsageError
from rewardkit.media.prompts import PromptLine, read
from rewardkit.shapes.prompts import parse, scene
from rewardkit.shapes.world import render

LISTS = "package:rewardkit.shapes/lists/train.jsonl"
NAMES = ["sharpness", "jpeg-compressibility", "shapes-correct"]


def pictures(lines, group):
    """Of each prompt a scene that shows it and others that show the next prompt, with noise."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(len(lines)):
        for sample in range(group):
            shown = lines[i if sample == 0 else (i + 1) % len(lines)].prompt
            made.append(render([scene(parse(shown), rng)])[0])
    found = torch.from_numpy(np.stack(made))
    return found if found.shape[1] == 3 else found.movedim(-1, 1).contiguous()


def test_scores_are_those_of_the_saved_pictures(tmp_path):
    lines, group = read(LISTS)[:4], 3
    media = pictures(lines, group)
    assert media.dtype == torch.uint8 and media.shape[:2] == (12, 3)
    rows = []
    for i, picture in enumerate(media):
        Image.fromarray(picture.movedim(0, -1).numpy()).save(tmp_path / f"{i:02}.png")
        line = lines[i // group]
        rows.append({"path": f"{i:02}.png", "id": f"{i:02}", "prompt": line.prompt, **line.meta})
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    spec = "+".join(NAMES)
    asked = ["score", str(manifest), "-r", spec, "-o", str(tmp_path / "s.jsonl"), "--device", "cpu"]
    assert CliRunner().invoke(main, asked).exit_code == 0
    table = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text("utf-8").splitlines()]
    saved = {row["id"]: row for row in table if "id" in row}
    ours = Rewards(spec, "cpu")(media, lines, group)
    for name in NAMES:
        expected = torch.tensor([float(saved[f"{i:02}"][name]) for i in range(12)]).view(4, 3)
        torch.testing.assert_close(ours[name], expected, rtol=0, atol=1e-6)
        assert len(expected.unique()) > 1, "a constant says nothing"


def test_a_judge_behind_an_endpoint_scores_samples(home):
    lines, group = read(LISTS)[:2], 2
    media = pictures(lines, group)
    with scripted() as endpoint:
        scripted_judge.judge(endpoint)
        settings = ScoringConfig(
            endpoint=endpoint.url, judge_model="judge-8b", concurrency=2, timeout=9
        )
        assert settings.service.timeout == 9
        scores = Rewards("2*judge+sharpness", "cpu", settings)(media, lines, group)["judge.yes"]
        Rewards("sharpness", "cpu", settings)  # the rewards of an evaluation need not call it
    asked = {scripted_judge.question(body) for body in endpoint.calls}
    assert len(endpoint.calls) == 4 and len(asked) == 2 and endpoint.most <= 2
    expected = media.double().mean((1, 2, 3)) / 256 + 1 / 512
    torch.testing.assert_close(scores.flatten().double(), expected, rtol=0, atol=1e-6)


def test_training_on_a_judge_needs_its_endpoint_before_anything_is_loaded():
    lines, model = read(LISTS)[:2], SimpleNamespace(kind="image", pipeline=None)

    def checked(reward, **scoring):
        settings = {"reward": reward, **{f"scoring.{key}": v for key, v in scoring.items()}}
        return check(resolve("shapes-flow", settings=settings).config, lines, None, model)

    with pytest.raises(UsageError, match=r"judge\.yes calls a service"):
        checked("judge")
    with pytest.raises(UsageError, match="none of sharpness calls one"):
        checked("sharpness", endpoint="http://127.0.0.1:9/v1")
    with pytest.raises(UsageError, match="is not an address"):
        checked("judge", endpoint="here")
    with pytest.raises(UsageError, match=r"scoring\.endpoint is none"):
        checked("sharpness", judge_model="judge-8b")
    checked("judge+sharpness", endpoint="http://127.0.0.1:9/v1", judge_model="judge-8b")


@pytest.fixture
def judge(tmp_path):
    """A reward of a user's own: the first pixel, but for what its prompt orders."""
    file = tmp_path / "judge.py"
    file.write_text("""
def score(batch):
    if "raise" in batch.prompts:
        raise ValueError("no such thing")
    pairs = zip(batch.media, batch.prompts)
    return [float("nan") if prompt == "nan" else float(m[0, 0, 0]) for m, prompt in pairs]
""")
    return f"{file}:score"


def asked(*prompts):
    return [PromptLine(f"line {i}", prompt) for i, prompt in enumerate(prompts)]


def levels(*values):
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def test_samples_lie_prompt_by_prompt_and_weights_are_kept_apart(judge):
    rewards = Rewards(f"0.5*{judge}+2*{judge}@20", "cpu")
    scores = rewards(levels(10, 20, 30, 40, 50, 60), asked("a", "b"), 3)
    # Above 20 is 1, 20 itself is not; weights are the advantages' affair.
    assert scores[judge].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert scores[f"{judge}@20.0"].tolist() == [[0, 0, 1], [1, 1, 1]]
    assert rewards.weights == {judge: 0.5, f"{judge}@20.0": 2.0}
    assert Rewards(judge, "cpu").weights == {judge: 1.0}


@pytest.mark.parametrize(("prompt", "told"), [("nan", "nan"), ("raise", "no such thing")])
def test_a_sample_without_a_score_is_named_with_reward_and_prompt(judge, prompt, told):
    with pytest.raises(ScoringError) as failed:
        Rewards(judge, "cpu")(levels(1, 2, 3, 4), asked("fine", prompt), 2)
    assert failed.value.index == 2
    for part in (judge, repr(prompt), told):
        assert part in str(failed.value)


def test_a_reward_nobody_knows_is_refused():
    with pytest.raises(UsageError, match="Did you mean 'sharpness'"):
        Rewards("sharpnes", "cpu")
