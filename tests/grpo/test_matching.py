"""Losses of the forward process: upstream's numbers, values by hand, and what has a gradient."""

import pytest
import torch
from golden.calls import load, numbers

from grpo.loss import kl_v
from grpo.matching import nft
from grpo.sde import noised
from rewardkit.errors import UsageError


def same(ours, theirs, rtol=1e-5, atol=1e-6):
    expected = torch.as_tensor(theirs, dtype=torch.float32)
    torch.testing.assert_close(ours, expected, rtol=rtol, atol=atol)


def tensors(arguments):
    return {
        name: torch.tensor(value) if isinstance(value, list) else value
        for name, value in arguments.items()
    }


@pytest.mark.parametrize("call", load("diffusion-nft", "scripts/train_nft_sd3.py: main, loss"))
def test_nft_is_diffusionnfts(call):
    given, expected = tensors(call.arguments), call.results
    x_t = noised(given["x0"], given.pop("noise"), given["sigma"])
    same(x_t, expected["x_t"])
    reference = given.pop("velocity_ref")
    velocity = given.pop("velocity").requires_grad_()
    found = nft(velocity, x_t=x_t, **given)
    (gradient,) = torch.autograd.grad(found.loss, velocity)
    same(found.loss.detach(), expected["loss"])
    same(gradient, expected["gradient"])
    same(found.positive, expected["positive"])
    same(found.negative, expected["negative"])
    same(found.deviation, expected["deviation"])
    same(kl_v(velocity, reference).detach(), expected["kl"])


# DiffusionNFT.


def nft_of(velocity, advantage, beta=1.0, old=None, **changes):
    """A right model at sigma 1/2: x0 = 0, x1 = 1, v = 1, so that x0+- = (1 - v+-) / 2."""
    shape = (len(advantage), 2)
    given = {"x_t": torch.full(shape, 0.5), "x0": torch.zeros(shape), "sigma": 0.5}
    given |= {"advantage": torch.tensor(advantage), "beta": beta, "advantage_clip": 5.0} | changes
    old = torch.ones(shape) if old is None else old
    return nft(velocity.expand(shape), old, **given)


def test_nft_by_hand():
    # v+ = 3, v- = -1: x0+- = -1 and 1, both w = 1, L+- = 1 / 1. r = 1/2 + 2 / 10 = 0.7.
    found = nft_of(torch.tensor(3.0), [2.0])
    assert (found.positive, found.negative, found.deviation) == (1, 1, 4)
    assert found.loss.item() == pytest.approx(5 * (0.7 + 0.3))
    # beta 1/2: v+ = 2, v- = 0: L+- = (1/4) / (1/2) each, times 5 / (1/2).
    assert nft_of(torch.tensor(3.0), [2.0], beta=0.5).loss.item() == pytest.approx(5.0)


def test_nft_weighs_each_side_by_its_own_error():
    # old = 2: v+ = 3 and v- = 1: x0+- = -1 and 0, so L+ = 1 and L- = 0 / floor.
    old = torch.full((1, 2), 2.0)
    found = nft_of(torch.tensor(3.0), [5.0], old=old)
    assert (found.positive, found.negative) == (1, 0)
    assert found.loss.item() == pytest.approx(5.0)  # r = 1: the positive side alone
    assert nft_of(torch.tensor(3.0), [-50.0], old=old).loss.item() == 0  # r = 0


def test_nft_pulls_towards_good_samples_and_away_from_bad_ones():
    for advantage, sign in [(2.0, 1.0), (-2.0, -1.0), (0.0, 0.0)]:
        velocity = torch.tensor(0.5, requires_grad=True)
        # The old policy says 0.5 where the sample was drawn with 1.
        loss = nft_of(velocity, [advantage], old=torch.full((1, 2), 0.5)).loss
        (gradient,) = torch.autograd.grad(loss, velocity)
        assert torch.sign(-gradient).item() == sign


def test_only_the_new_policy_learns_from_nft():
    given = {name: numbers(seed, 3, 4) for seed, name in enumerate(["velocity_old", "x_t", "x0"])}
    given["advantage"] = numbers(4, 3)
    for tensor in given.values():
        tensor.requires_grad_()
    velocity = numbers(5, 3, 4).requires_grad_()
    nft(velocity, **given, sigma=0.5, beta=1.0, advantage_clip=5.0).loss.backward()
    assert velocity.grad is not None
    assert all(tensor.grad is None for tensor in given.values())


def test_the_floor_is_the_least_weight():
    # x0+ = -1e-6: L+ = 1e-12 / floor.
    found = nft_of(torch.tensor(1 + 2e-6), [0.0], floor=1e-3)
    assert found.positive.item() == pytest.approx(1e-9, rel=0.1)


def test_an_advantage_that_would_be_broadcast_is_refused():
    x, wrong = numbers(0, 3, 2), torch.zeros(3, 1)
    with pytest.raises(
        UsageError, match=r"advantage must be \[3\], one per sample; got shape \[3, 1\]"
    ):
        nft(x, x, x, x, 0.5, wrong, beta=1.0, advantage_clip=5.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_losses_of_the_forward_process_are_computed_in_float32(dtype):
    x, other, a = numbers(0, 4, 3), numbers(1, 4, 3), numbers(2, 4)

    def losses(x, other, a):
        yield nft(x, other, other, x, 0.5, a, beta=1.0, advantage_clip=5.0).loss

    given = [tensor.to(dtype) for tensor in (x, other, a)]
    exact = [tensor.float() for tensor in given]
    for ours, expected in zip(losses(*given), losses(*exact), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, expected)
