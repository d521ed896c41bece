import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from golden.calls import load

from grpo.schedules import ddim_alpha_bars, ddim_timesteps, flow_schedule, timesteps
from rewardkit.errors import UsageError

SHIFTS = [1.0, 3.0, 7.0]
COUNTS = [1, 2, 7, 10, 16, 28, 50]


def even(steps, shift):
    """The sigmas of DanceGRPO: even ones, shifted by a scheduler of diffusers."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    return flow_schedule(scheduler, steps, even=True)[0]


def same(ours, theirs):
    torch.testing.assert_close(ours, torch.as_tensor(theirs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("call", load("dancegrpo", "fastvideo/train_grpo_flux.py: sd3_time_shift"))
def test_even_sigmas_are_dancegrpos(call):
    sigmas = even(**call.arguments)
    same(sigmas, call.results["sigmas"])
    # Equal, not close: a sigma of 0.3 is told as 299 or 300 depending on one bit.
    assert timesteps(sigmas, truncate=True).tolist() == call.results["timesteps"]


def test_even_sigmas_by_hand():
    # shift u / (1 + (shift - 1) u): 3 (15/16) / (1 + 30/16) = 45/46; 3/16 / (18/16) = 1/6
    flux = even(16, 3.0)
    same(flux[[0, 1, 2, 13, 14, 15, 16]], [1, 45 / 46, 21 / 22, 9 / 22, 0.3, 1 / 6, 0.0])
    # 5 (15/16) / (1 + 4 15/16) = 75/76; 7 (15/16) / (1 + 6 15/16) = 105/106
    same(even(16, 5.0)[1], 75 / 76)
    same(even(16, 7.0)[1], 105 / 106)


@pytest.mark.parametrize("steps", COUNTS)
@pytest.mark.parametrize("mu", [0.5, 1.15])
def test_a_shift_by_the_sample_is_the_shift_by_its_exponential(steps, mu):
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    same(flow_schedule(scheduler, steps, mu=mu, even=True)[0], even(steps, math.exp(mu)))


@pytest.mark.parametrize("steps", COUNTS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_timesteps_are_the_schedulers(steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    exact = timesteps(scheduler.sigmas, truncate=False)
    torch.testing.assert_close(exact, scheduler.timesteps, rtol=1e-6, atol=0)
    same(timesteps(scheduler.sigmas, truncate=True), exact.floor())


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 30, 50, 333, 999])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("to_one", [False, True])
def test_ddim_walks_where_the_scheduler_does(steps, spacing, offset, to_one):
    scheduler = DDIMScheduler(
        timestep_spacing=spacing, steps_offset=offset, set_alpha_to_one=to_one
    )
    ours = ddim_timesteps(scheduler, steps)
    assert torch.equal(ours, scheduler.timesteps)
    now, then = ddim_alpha_bars(scheduler.alphas_cumprod, ours, scheduler.final_alpha_cumprod)
    assert torch.equal(now, scheduler.alphas_cumprod[scheduler.timesteps])
    # As the scheduler's variance, which is all it tells of the step's end.
    variance = [
        scheduler._get_variance(int(t), int(t) - 1000 // steps) for t in scheduler.timesteps
    ]
    same((1 - then) / (1 - now) * (1 - now / then), torch.stack(variance))


def test_impossible_schedules_are_refused():
    with pytest.raises(UsageError, match="1001 steps with offset 0 given"):
        ddim_timesteps(DDIMScheduler(), 1001)
    # Timesteps 1 to 1000, of which the model does not know the last.
    with pytest.raises(UsageError, match="1000 steps with offset 1 given"):
        ddim_timesteps(DDIMScheduler(steps_offset=1), 1000)


def test_a_timestep_too_many_is_left_out():
    # 1000 / 61 is rounded up: 62 of them fit between 1000 and 0.
    walked = ddim_timesteps(DDIMScheduler(timestep_spacing="trailing"), 61)
    assert len(walked) == 61 and walked[-1] == 15
