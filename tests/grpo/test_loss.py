import math

import pytest
import torch
from golden.calls import load, numbers

from grpo.loss import kl_v, kl_x
from grpo.surrogates import clipped_surrogate
from rewardkit.errors import UsageError


def same(ours, theirs, rtol=1e-5, atol=1e-6):
    expected = torch.as_tensor(theirs, dtype=torch.float32)
    torch.testing.assert_close(ours, expected, rtol=rtol, atol=atol)


def tensors(arguments):
    return {
        name: torch.tensor(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }


def slope(function, at, index, width):
    """A central difference."""
    nudge = torch.zeros_like(at)
    nudge[index] = width / 2
    return (function(at + nudge) - function(at - nudge)).item() / width


# What upstream's own code gave, with its gradient.


@pytest.mark.parametrize(
    "call", load("dancegrpo", "fastvideo/train_grpo_flux.py: train_one_step, loss")
)
def test_the_surrogate_is_dancegrpos(call):
    given = tensors(call.arguments)
    log_prob = given.pop("log_prob").requires_grad_()
    found = clipped_surrogate(log_prob, **given)
    (gradient,) = torch.autograd.grad(found.loss, log_prob)
    same(found.loss.detach(), call.results["loss"])
    same(gradient, call.results["gradient"])


@pytest.mark.parametrize("call", load("flow-grpo", "scripts/train_sd3.py: main, kl_loss"))
def test_kl_x_is_flow_grpos(call):
    given = tensors(call.arguments)
    same(kl_x(given["mean"], given["mean_ref"], given["std"]), call.results["kl"])


# The clipped surrogate.


def surrogate(ratio, advantage, clip_range=0.2, advantage_clip=5.0):
    log_prob = torch.tensor([ratio]).log().requires_grad_()
    found = clipped_surrogate(
        log_prob,
        torch.zeros(1),
        torch.tensor([advantage]),
        clip_range=clip_range,
        advantage_clip=advantage_clip,
    )
    (gradient,) = torch.autograd.grad(found.loss, log_prob)
    return found.loss.item(), gradient.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),  # d ratio / d log_prob = ratio
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # good and already likelier: no more
        (0.5, 2.0, -1.0, -1.0),  # good and less likely: pulled back
        (0.5, -2.0, 1.6, 0.0),  # bad and already less likely: no more
        (1.5, -2.0, 3.0, 3.0),  # bad and likelier: pushed back
        (1.0, 20.0, -5.0, -5.0),  # the advantage is cut to 5
        (1.0, -20.0, 5.0, 5.0),
    ],
)
def test_the_surrogate_by_hand(ratio, advantage, loss, gradient):
    assert surrogate(ratio, advantage) == pytest.approx((loss, gradient), abs=1e-5)


def test_the_gradient_of_the_surrogate_is_its_slope():
    old, advantage = numbers(0, 6), numbers(1, 6)
    log_prob = (old + 0.3 * numbers(2, 6)).requires_grad_()

    def loss(at):
        return clipped_surrogate(at, old, advantage, clip_range=0.1, advantage_clip=5.0).loss

    (gradient,) = torch.autograd.grad(loss(log_prob), log_prob)
    slopes = [slope(loss, log_prob.detach(), index, 2e-3) for index in range(6)]
    same(gradient, slopes, atol=1e-3)
    assert 0 in slopes  # some are clipped
    assert max(map(abs, slopes)) > 0.1


def test_diagnostics_by_hand():
    # Ratios e^0.1, e^-0.3, 1: outside 0.2 is e^-0.3 = 0.741 alone.
    found = clipped_surrogate(
        torch.tensor([0.1, -0.3, 0.0]),
        torch.zeros(3),
        torch.ones(3),
        clip_range=0.2,
        advantage_clip=5.0,
    )
    assert found.clip_fraction.item() == pytest.approx(1 / 3)
    assert found.approx_kl.item() == pytest.approx((0.01 + 0.09) / 2 / 3)
    assert found.ratio.item() == pytest.approx((math.exp(0.1) + math.exp(-0.3) + 1) / 3)


def test_before_the_first_update_nothing_is_clipped():
    log_prob, advantage = numbers(0, 8), numbers(1, 8)
    found = clipped_surrogate(log_prob, log_prob, advantage, clip_range=1e-4, advantage_clip=5.0)
    assert (found.clip_fraction, found.approx_kl, found.ratio) == (0, 0, 1)
    same(found.loss, -advantage.mean())


def test_only_the_policy_in_training_gets_a_gradient():
    new, old, advantage = (numbers(seed, 4).requires_grad_() for seed in range(3))
    clipped_surrogate(new, old, advantage, clip_range=10.0, advantage_clip=5.0).loss.backward()
    assert new.grad is not None
    assert old.grad is None
    assert advantage.grad is None


# Penalties.


def test_kl_x_is_the_kl_of_normal_distributions():
    mean, reference = numbers(0, 3, 2, 4), numbers(1, 3, 2, 4)
    std = torch.tensor([0.5, 1.0, 2.0])
    scale = std[:, None, None]
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, scale), normal(reference, scale))
    same(kl_x(mean, reference, std), expected.mean())
    with pytest.raises(UsageError, match="above 0; got 0"):
        kl_x(mean, reference, 0.0)


def test_penalties_pull_towards_the_reference_alone():
    for penalty in (lambda a, b: kl_x(a, b, 0.5), kl_v):
        new, reference = numbers(0, 2, 3).requires_grad_(), numbers(1, 2, 3).requires_grad_()
        penalty(new, reference).backward()
        slopes = [
            slope(lambda at: penalty(at, reference), new.detach(), (0, index), 1.0)  # noqa: B023
            for index in range(3)
        ]
        same(new.grad[0], slopes, atol=1e-4)
        assert reference.grad is None


# What is refused, and what is not.


def test_shapes_that_would_be_broadcast_are_refused():
    wrong = torch.zeros(3, 1)
    with pytest.raises(UsageError, match=r"got shapes \[\[3\], \[3\], \[3, 1\]\]"):
        clipped_surrogate(torch.zeros(3), torch.zeros(3), wrong, clip_range=0.1, advantage_clip=5.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_losses_are_computed_in_float32(dtype):
    x, other, a = numbers(0, 4, 3), numbers(1, 4, 3), numbers(2, 4)

    def losses(x, other, a):
        yield clipped_surrogate(a, 0.5 * a, a, clip_range=0.1, advantage_clip=5.0).loss
        yield kl_x(x, other, 0.5)
        yield kl_v(x, other)

    given = [tensor.to(dtype) for tensor in (x, other, a)]
    exact = [tensor.float() for tensor in given]
    for ours, expected in zip(losses(*given), losses(*exact), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, expected)
