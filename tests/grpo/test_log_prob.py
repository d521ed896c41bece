import math

import pytest
import torch
from golden.calls import numbers

from grpo.sde import cps, dance, ddim, flow, log_prob, ode
from rewardkit.errors import UsageError

STEPS = {
    "dance": lambda v, x: dance(v, x, 0.75, 0.5, eta=0.3),
    "flow": lambda v, x: flow(v, x, 0.75, 0.5, noise_level=0.7, sigma_max=0.95),
    "cps": lambda v, x: cps(v, x, 0.75, 0.5, noise_level=0.8),
    "ddim": lambda out, x: ddim(out, x, 0.5, 0.75, eta=1.0),
    "ddim-v": lambda out, x: ddim(out, x, 0.5, 0.75, eta=0.5, prediction="v_prediction"),
}


def test_log_prob_is_that_of_the_normal_distribution():
    x, mean = numbers(0, 3, 4, 5), numbers(1, 3, 4, 5)
    std = torch.tensor([0.05, 1.0, 3.0])
    normal = torch.distributions.Normal(mean, std[:, None, None])
    torch.testing.assert_close(log_prob(x, mean, std), normal.log_prob(x).mean((1, 2)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_log_prob_is_computed_in_float32(dtype):
    x, mean = numbers(0, 3, 4, 5).to(dtype), numbers(1, 3, 4, 5).to(dtype)
    ours = log_prob(x, mean, 0.5)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, log_prob(x.float(), mean.float(), 0.5))


def test_the_log_prob_of_an_own_draw_is_the_entropy():
    # E[-z^2 / 2] = -1/2; its standard error is 1/sqrt(2n) = 0.002.
    mean = torch.zeros(1, 100_000)
    x = 0.25 * torch.randn(1, 100_000, generator=torch.Generator().manual_seed(0))
    expected = -0.5 - math.log(0.25) - 0.5 * math.log(2 * math.pi)
    assert log_prob(x, mean, 0.25).item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", STEPS)
def test_the_gradient_of_a_log_prob_is_its_slope(name):
    out, x, x_next = (numbers(seed, 2, 3) for seed in range(3))

    def total(output):
        step = STEPS[name](output, x)
        return log_prob(x_next, step.mean, step.std).sum()

    (gradient,) = torch.autograd.grad(total(out.requires_grad_()), out)
    # It is quadratic in the output: central differences are exact whatever their width.
    for index in ((0, 0), (0, 2), (1, 1)):
        nudge = torch.zeros(2, 3)
        nudge[index] = 0.5
        slope = (total(out.detach() + nudge) - total(out.detach() - nudge)).item()
        assert gradient[index].item() == pytest.approx(slope, rel=1e-3, abs=1e-4)
        assert abs(slope) > 1e-2


def test_no_gradient_flows_through_what_was_drawn():
    mean = numbers(0, 2, 3).requires_grad_()
    drawn = mean + 0.5  # as a rollout would, had it kept its graph
    (gradient,) = torch.autograd.grad(log_prob(drawn, mean, 1.0).sum(), mean)
    assert torch.allclose(gradient, torch.full((2, 3), 0.5 / 3))  # (x' - mu) / s^2 over 3


def test_a_deterministic_step_has_no_log_prob():
    x = numbers(0, 2, 3)
    last = cps(x, x, torch.tensor([0.5, 0.25]), torch.tensor([0.25, 0.0]), noise_level=0.8)
    assert not last.deterministic  # the first sample still has noise
    for step in (last, ode(x, x, 0.5, 0.25), ddim(x, x, 0.5, 1.0, eta=1.0)):
        with pytest.raises(UsageError, match="above 0; got 0"):
            log_prob(x, step.mean, step.std)
    with pytest.raises(UsageError, match="above 0; got nan"):
        log_prob(x, x, dance(x, x, 0.25, 0.5, eta=0.3).std)  # sigmas that rise
