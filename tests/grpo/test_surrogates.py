"""Surrogates beside their authors' code, and by hand."""

import pytest
import torch
from golden.calls import load, numbers

from grpo.loss import divergence
from grpo.surrogates import (
    boxed_surrogate,
    clipped_surrogate,
    guarded_surrogate,
    masked_surrogate,
)
from rewardkit.errors import UsageError

FREE = {"clip_range": 0.9, "advantage_clip": 1e6}


def same(ours, theirs, atol=1e-6):
    expected = torch.as_tensor(theirs, dtype=torch.float32)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=atol)


def read(call):
    """The arguments of a call, its divergences, and log-probabilities with a gradient."""
    given = {
        name: torch.tensor(value) if isinstance(value, list) else value
        for name, value in call.arguments.items()
    }
    mean, old_mean, std = given.pop("mean"), given.pop("old_mean"), given.pop("std")
    far = divergence(mean, old_mean, std)
    given["log_prob"].requires_grad_()
    return given, far, torch.full_like(far, std)


@pytest.mark.parametrize(
    "call",
    load(
        "flow-factory-grpo",
        "src/flow_factory/trainers/grpo.py: GRPOGuardTrainer.optimize, policy_loss",
    ),
)
def test_the_guarded_surrogate_is_flow_factorys(call):
    given, far, std = read(call)
    found = guarded_surrogate(**given, divergence=far, std=std, advantage_clip=1e6)
    (gradient,) = torch.autograd.grad(found.loss, given["log_prob"])
    same(found.loss.detach(), call.results["loss"])
    same(gradient, call.results["gradient"])
    ratios = torch.tensor(call.results["ratio"])
    same(found.ratio, ratios.mean())
    outside = (ratios - 1).abs() > 0.02
    assert outside.any() and found.clip_fraction == outside.float().mean()


@pytest.mark.parametrize(
    "call", load("unirl", "unirl/algorithms/flowdppo.py: _flowdppo_kl_adv_loss")
)
def test_the_masked_surrogate_is_unirls(call):
    given, far, _ = read(call)
    found = masked_surrogate(**given, divergence=far, advantage_clip=1e6)
    (gradient,) = torch.autograd.grad(found.loss, given["log_prob"])
    same(found.loss.detach(), call.results["loss"])
    same(gradient, call.results["gradient"])
    for figure in ("masked_fraction", "divergence", "ratio"):
        same(getattr(found, figure), call.results[figure])


def test_samples_far_away_that_move_on_are_masked():
    found = masked_surrogate(
        torch.tensor([1.01, 1.02, 0.99, 0.97]).log(),
        torch.zeros(4),
        torch.tensor([1.5, 0.5, -0.5, -1.5]),
        torch.tensor([4e-6, 20e-6, 20e-6, 4e-6]),
        threshold=1e-5,
        advantage_clip=5.0,
    )
    # The second and the third are masked: (-1.5 1.01 + 0 + 0 + 1.5 0.97) / 4.
    same(found.loss, -0.015)
    same(found.masked_fraction, 0.5)
    # Samples that come back, or are exactly at the threshold.
    back = masked_surrogate(
        torch.tensor([0.5, 2.0, 1.5]).log(),
        torch.zeros(3),
        torch.tensor([1.0, -1.0, 1.0]),
        torch.tensor([1.0, 1.0, 0.25]),
        threshold=0.25,
        advantage_clip=5.0,
    )
    same(back.loss, (-0.5 + 2.0 + 0.0) / 3)


def test_the_normalised_ratio_has_a_mean_of_one_in_log_space():
    # x' = mu_old + s z: the mean over z of log p - log p_old is -D, which the ratio puts right.
    std, x = 0.3, numbers(0, 20_000, 2)
    mean, old = torch.full_like(x, 0.06), torch.zeros_like(x)
    drawn = std * x
    change = ((drawn - old).square() - (drawn - mean).square()).mean(1) / (2 * std**2)
    far = divergence(mean, old, std)
    same(change.mean(), -far.mean(), atol=5e-3)
    found = guarded_surrogate(
        change, torch.zeros_like(change), torch.ones_like(change), far,
        torch.full_like(change, std), **FREE,
    )  # fmt: skip
    # The exponent is z (mu - mu_old) / sqrt(2) here, whatever s: its variance is 0.06^2 / 2.
    same(found.ratio, 1 + 0.06**2 / 4, atol=2e-3)
    assert found.clip_fraction == 0


def test_dpoks_surrogate_pulls_only_inside_the_box():
    ratios, advantage = torch.tensor([1.0, 1.1, 1.5, 0.5]), torch.tensor([2.0, -30.0, 1.0, 1.0])
    log_prob = ratios.log().requires_grad_()
    found = boxed_surrogate(log_prob, torch.zeros(4), advantage, clip_range=0.2, scale=100.0)
    # -100 (2 - 33 + 1.2 + 0.8) / 4; d ratio / d log_prob is the ratio.
    same(found.loss.detach(), 725.0, atol=1e-3)
    (gradient,) = torch.autograd.grad(found.loss, log_prob)
    same(gradient, [-50.0, 825.0, 0.0, 0.0], atol=1e-3)
    assert found.clip_fraction == 0.5


def test_weights_weigh_samples():
    log_prob, advantage = numbers(0, 4).requires_grad_(), numbers(1, 4)
    weight = torch.tensor([1.0, 0.0, 3.0, 0.5])
    far, std = torch.full((4,), 0.1), torch.full((4,), 0.2)
    old = log_prob.detach()
    for call in (
        lambda **more: clipped_surrogate(log_prob, old, advantage, **FREE, **more),
        lambda **more: guarded_surrogate(log_prob, old, advantage, far, std, **FREE, **more),
        lambda **more: masked_surrogate(
            log_prob, old, advantage, far, threshold=9.0, advantage_clip=9.0, **more
        ),
    ):
        plain, weighted = (
            torch.autograd.grad(call(**more).loss, log_prob)[0] for more in ({}, {"weight": weight})
        )
        same(weighted, weight * plain)


def test_a_divergence_for_each_sample():
    mean, reference = torch.tensor([[3.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 2.0]])
    # (4 + 0) / 2 / (2 / 4) and (0 + 4) / 2 / (2 * 4).
    same(divergence(mean, reference, torch.tensor([0.5, 2.0])), [4.0, 0.25])


def test_shapes_that_would_be_broadcast_are_refused():
    one, wrong = torch.zeros(3), torch.zeros(3, 1)
    with pytest.raises(UsageError, match=r"got shapes \[\[3\], \[3\], \[3\], \[3, 1\]\]"):
        masked_surrogate(one, one, one, wrong, threshold=1.0, advantage_clip=5.0)
    with pytest.raises(UsageError, match="must be"):
        guarded_surrogate(one, one, one, one, wrong, clip_range=0.1, advantage_clip=5.0)
