"""Reward gradients: the derivative of the reward of a sample by the weights that made it."""

import numpy as np
import pytest
import tiny_policies
import tiny_runs
import torch
from pydantic import ValidationError

from grpo.preview import look
from grpo.ready import check
from grpo.rollout import collect
from grpo.testing.objective import check_resume
from rewardkit.engine import straight_through
from rewardkit.errors import UsageError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def run_of(folder, *, top=None, sampler=None, policy=None, **objective):
    return tiny_runs.config(
        folder,
        objective=tiny_runs.BACK | {"updates": 1} | objective,
        sampler={"batch_size": 6, **(sampler or {})},
        policy=policy or {},
        top=top,
    )


def loss_of(trainer, plan_seed=0):
    """The loss of a whole rollout, and the rollout."""
    lines = trainer.choose(0)
    plan = trainer.objective.plan(len(lines), np.random.default_rng(plan_seed))
    rollout = collect(trainer.policy, trainer.sampler, lines, trainer.config.sampler, plan, (0, 0))
    samples = trainer.samples(rollout, torch.arange(6), {}, torch.zeros(6))

    def loss():
        (term,) = trainer.objective.terms(samples, (0, 0, 4, 0))
        return term.loss

    return loss, rollout


@pytest.mark.parametrize(
    ("name", "changes"), [("sd", {"last": 3}), ("sd3", {"last": 3, "truncation": "single"})]
)
def test_the_gradient_is_that_of_steps_vae_and_reward(folders, name, changes, monkeypatch):
    """By finite differences; without rounding, whose gradient is 0 almost everywhere."""
    monkeypatch.setattr(straight_through, "_straight_through", lambda values, rounded: values)
    trainer = tiny_runs.trainer(run_of(folders[name], **changes))
    weights = list(trainer.policy.parameters().values())
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a LoRA whose second factor is zero has no gradient in the first
        for weight in weights:
            weight.add_(0.1 * torch.randn(weight.shape, generator=source))
    loss, _ = loss_of(trainer)
    gradients = torch.autograd.grad(loss(), weights)
    norm = sum(g.square().sum() for g in gradients).sqrt()
    moved = []
    with torch.no_grad():
        for step in (0.02, -0.02):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.add_(step / norm * gradient)
            moved.append(loss().item())
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(step / norm * gradient)
    assert (moved[0] - moved[1]) / 0.04 == pytest.approx(norm.item(), rel=0.01)


@pytest.mark.parametrize(("name", "rule"), [("sd", "ddim"), ("sd3", "ode")])
def test_without_noise_the_loss_is_minus_the_reported_reward(folders, name, rule):
    quiet = {"rule": rule, "noise_level": 0.0}
    run = run_of(folders[name], sampler=quiet, top={"reward": "3*shapes-clip"})
    trainer = tiny_runs.trainer(run)
    loss, rollout = loss_of(trainer)
    (scores,) = trainer.rewards(rollout.media, rollout.lines, 3).values()
    assert loss().item() == pytest.approx(-3 * scores.mean().item(), abs=1e-4)


def test_pixels_before_rounding_are_those_of_the_media(folders):
    trainer = tiny_runs.trainer(run_of(folders["sd"]))
    _, rollout = loss_of(trainer)
    pixels = trainer.policy.pixels(rollout.clean)
    levels = pixels.mul(255).round().to(torch.uint8)
    assert torch.equal(levels, torch.stack(rollout.media))


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"last": 2}, {1}),
        ({"last": 3, "truncation": "uniform"}, {0, 1, 2}),
        ({"last": 2, "truncation": "single"}, {1, 2}),
    ],
)
def test_where_the_gradient_begins(folders, changes, begins):
    objective = tiny_runs.trainer(run_of(folders["sd"], **changes)).objective
    plans = [objective.plan(4, np.random.default_rng(seed)).kept for seed in range(20)]
    assert {i for plan in plans for i in plan.flatten().tolist()} == begins
    apart = any(len(plan.unique()) > 1 for plan in plans)
    assert apart == (changes.get("truncation") == "single")  # else the steps of all are as many


@pytest.mark.slow
def test_a_run_with_a_random_number_of_steps_resumes_bitwise(folders, tmp_path):
    run = run_of(
        folders["sd"], last=3, truncation="uniform", top={"steps": 3}, sampler={"group_size": 1}
    )
    check_resume(run, tmp_path)


@pytest.mark.slow
def test_checkpointing_recomputes_the_vae_and_changes_nothing(folders):
    losses, gradients = [], []
    for checkpointing in (False, True):
        trainer = tiny_runs.trainer(
            run_of(folders["sd"], policy={"gradient_checkpointing": checkpointing})
        )
        decoder = trainer.policy.pipeline.diffusers.vae.decoder
        assert decoder.gradient_checkpointing == checkpointing
        loss, _ = loss_of(trainer)
        losses.append(loss())
        weights = list(trainer.policy.parameters().values())
        gradients.append(torch.autograd.grad(losses[-1], weights))
    assert torch.equal(*losses)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))


def test_a_reward_without_a_gradient_is_refused_before_anything_is_loaded(folders):
    run = run_of(folders["sd"], top={"reward": "shapes-clip+sharpness"})
    with pytest.raises(UsageError, match="sharpness has no gradient to the pixels"):
        check(run, tiny_runs.trainer(run_of(folders["sd"])).prompts, None, look(run.model))


def test_more_steps_than_are_sampled_are_refused(folders):
    with pytest.raises(ValidationError, match=r"last is 4; it is at most sampler\.steps, 3"):
        run_of(folders["sd"], last=4)
