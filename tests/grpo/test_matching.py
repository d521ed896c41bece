"""Losses of the forward process: upstream's numbers, values by hand, and what has a gradient."""

import pytest
import torch
from golden.calls import load, numbers

from grpo.group_matching import crd, dgpo, group_weights, kl_of_quality, relative_error
from grpo.loss import kl_v
from grpo.matching import log_likelihood, matching_error, nft, quality
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


@pytest.mark.parametrize(
    "call", load("flow-factory", "scripts/train_sd3_awm.py: compute_log_prob_awm")
)
def test_likelihoods_are_those_of_advantage_weighted_matching(call):
    given = tensors(call.arguments)
    output = given["output"].requires_grad_()
    error = matching_error(output, given["noise"] - given["x0"])
    found = log_likelihood(error, given["sigma"], given["weighting"])
    (gradient,) = torch.autograd.grad(found.sum(), output)
    same(found.detach(), call.results["log_likelihood"])
    same(gradient, call.results["gradient"])


def preferred(output, target, reference, old, advantage, group, beta, advantage_clip, clip_range):
    """The loss of DGPO, as the objective computes it."""
    error = matching_error(output, target)
    clip = {"advantage_clip": advantage_clip}
    errors = error, matching_error(reference, target), advantage
    weights = group_weights(*errors, group, beta=beta, **clip)
    before = {"error_old": matching_error(old, target), "clip_range": clip_range}
    return dgpo(error, weights, advantage, **clip, **before)


@pytest.mark.parametrize("call", load("flow-factory", "trainers/dgpo.py: _compute_group_dgpo_loss"))
def test_dgpo_is_flow_factorys(call):
    given = tensors(call.arguments)
    given["output"].requires_grad_()
    found = preferred(**given)
    (gradient,) = torch.autograd.grad(found.loss, given["output"])
    same(found.loss.detach(), call.results["loss"])
    same(gradient, call.results["gradient"])
    same(found.clip_fraction, call.results["clip_fraction"])


def distilled(output, target, old, advantage, adaptive, beta, advantage_clip):
    """The loss of CRD of a whole update, as the objective computes it."""
    errors = (relative_error(each, target, adaptive=adaptive) for each in (old, output))
    reward, q = next(errors) - next(errors), quality(advantage, advantage_clip)
    return crd(reward, q, reward.mean(), q.mean(), beta=beta, advantage_clip=advantage_clip)


@pytest.mark.parametrize("call", load("flow-factory", "trainers/crd.py: _compute_crd_loss"))
def test_crd_is_flow_factorys(call):
    given = tensors(call.arguments)
    reference, best, worst = (given.pop(name) for name in ("reference", "best", "worst"))
    output = given["output"].requires_grad_()
    loss = distilled(**given).loss
    (gradient,) = torch.autograd.grad(loss, output)
    same(loss.detach(), call.results["loss"])
    same(gradient, call.results["gradient"])
    q = quality(given["advantage"], given["advantage_clip"])
    same(kl_of_quality(output, reference, q, best=best, worst=worst).detach(), call.results["kl"])


# By hand, from the formulas of the papers.

ERRORS, ADVANTAGES = torch.tensor([0.25, 0.5, 1.0, 2.0]), torch.tensor([1.5, 0.5, -0.5, -1.5])


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ("uniform", [-0.25, -0.5, -1.0, -2.0]),
        ("t", [-0.15, -0.3, -0.6, -1.2]),
        ("t2", [-0.09, -0.18, -0.36, -0.72]),
        ("huber", [-0.299994, -0.424258, -0.599994, -0.848522]),
        ("ghuber", [-1.689467, -2.010562, -2.392411, -2.846508]),
    ],
)
def test_likelihoods_by_hand(weighting, expected):
    same(log_likelihood(ERRORS, 0.6, weighting), expected)


def test_dgpo_by_hand():
    reference, one = torch.tensor([0.31, 0.49, 1.02, 1.9]), torch.zeros(4, dtype=torch.long)
    # The mean of 100 A (e - e_ref) is -5.625.
    errors = ERRORS, reference, ADVANTAGES
    weights = group_weights(*errors, one, beta=100.0, advantage_clip=5.0)
    same(weights, [0.00359362] * 4)
    loss = dgpo(ERRORS, weights, ADVANTAGES, advantage_clip=5.0).loss
    assert loss.item() == pytest.approx(-0.002583, abs=1e-6)
    # Two groups at two timesteps: each has its own mean.
    pairs, two = torch.stack([ERRORS, 2 * ERRORS], 1), torch.tensor([0, 0, 1, 1])
    given = (pairs, torch.zeros(4, 2), ADVANTAGES, two)
    means = torch.tensor([[0.3125, 0.625], [-1.75, -3.5]])
    same(group_weights(*given, beta=1.0, advantage_clip=5.0), means.sigmoid()[two])


def test_crd_by_hand():
    reward, q = torch.tensor([0.05, 0.0, -0.1, 0.2]), quality(ADVANTAGES, 5.0)
    same(q, [0.65, 0.55, 0.45, 0.35])
    found = crd(reward, q, reward.mean(), q.mean(), beta=1.0, advantage_clip=5.0)
    assert found.loss.item() == pytest.approx(0.164844, abs=1e-6)
    same(found.implicit_reward, 0.0375)


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
        yield log_likelihood(matching_error(x, other), 0.5, "ghuber")
        group = torch.tensor([0, 0, 1, 1])
        yield preferred(x, other, other, other, a, group, 5.0, 1.0, 0.1).loss
        yield distilled(x, other, other, a, True, 1.0, 5.0).loss
        yield kl_of_quality(x, other, quality(a, 5.0), best=0.1, worst=0.0)

    given = [tensor.to(dtype) for tensor in (x, other, a)]
    exact = [tensor.float() for tensor in given]
    for ours, expected in zip(losses(*given), losses(*exact), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, expected)
