import math

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from golden.calls import load, numbers

from grpo.schedules import ddim_alpha_bars, ddim_timesteps, flow_schedule
from grpo.sde import cps, dance, ddim, flow, log_prob, noised, ode, spread
from rewardkit.errors import UsageError


def ten_steps():
    """The schedule of SD 3.5, as Flow-GRPO takes it."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    return scheduler


FLOWS = {
    "dance": lambda v, x, now, then: dance(v, x, now, then, eta=0.3),
    "flow": lambda v, x, now, then: flow(v, x, now, then, noise_level=0.7, sigma_max=0.95),
    "cps": lambda v, x, now, then: cps(v, x, now, then, noise_level=0.8),
    "ode": ode,
}
STEPS = FLOWS | {
    "ddim": lambda out, x, now, then: ddim(out, x, now, then, eta=1.0),
    "ddim-v": lambda out, x, now, then: ddim(out, x, now, then, eta=0.5, prediction="v_prediction"),
}
STABLE_DIFFUSION = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}


def same(ours, theirs, atol=1e-5):
    torch.testing.assert_close(
        ours, torch.as_tensor(theirs, dtype=torch.float32), rtol=0, atol=atol
    )


def tensors(arguments, *names):
    return [torch.tensor(arguments[name]) for name in names]


def bars(scheduler, steps):
    return ddim_alpha_bars(
        scheduler.alphas_cumprod,
        ddim_timesteps(scheduler, steps),
        scheduler.final_alpha_cumprod,
    )


# What upstream's own code gave.


@pytest.mark.parametrize("call", load("dancegrpo", "fastvideo/train_grpo_flux.py: flux_step"))
def test_dance_is_dancegrpos_step(call):
    given, found = call.arguments, call.results
    velocity, sample, x_next = tensors(given, "velocity", "sample", "x_next")
    step = dance(velocity, sample, given["sigma"], given["sigma_next"], eta=given["eta"])
    same(step.mean, found["mean"])
    same(step.x0, found["x0"])
    # Differences of 10 over an s of 0.04 make log-probabilities of -3e4: 7 digits, not 5 decimals.
    expected = torch.tensor(found["log_prob"])
    torch.testing.assert_close(log_prob(x_next, step.mean, step.std), expected, rtol=1e-5, atol=0)


PATCH = "flow_grpo/diffusers_patch/sd3_sde_with_logprob.py: sde_step_with_logprob"


@pytest.mark.parametrize("call", load("flow-grpo", PATCH))
def test_flow_is_flow_grpos_step(call):
    given, found = call.arguments, call.results
    velocity, sample, x_next, noise = tensors(given, "velocity", "sample", "x_next", "noise")
    sigmas, first = ten_steps().sigmas, given["first"]
    now, then = sigmas[first : first + 2], sigmas[first + 1 : first + 3]
    step = flow(
        velocity, sample, now, then, noise_level=given["noise_level"], sigma_max=sigmas[1].item()
    )
    same(step.mean, found["mean"])
    same(step.draw(noise), found["drawn"])
    same(step.std.flatten() / (now - then).sqrt(), found["std"])  # upstream returns g
    expected = torch.tensor(found["log_prob"])
    torch.testing.assert_close(log_prob(x_next, step.mean, step.std), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("call", load("flow-cps", PATCH))
def test_cps_is_flow_cps_step(call):
    given, found = call.arguments, call.results
    velocity, sample, x_next, noise = tensors(given, "velocity", "sample", "x_next", "noise")
    sigmas, first = ten_steps().sigmas, given["first"]
    step = cps(
        velocity,
        sample,
        sigmas[first : first + 2],
        sigmas[first + 1 : first + 3],
        noise_level=given["noise_level"],
    )
    same(step.mean, found["mean"])
    same(step.draw(noise), found["drawn"])
    same(step.std.flatten(), found["std"])
    # Upstream leaves out s and the constants.
    constant = -math.log(math.sqrt(0.5)) - 0.5 * math.log(2 * math.pi)
    same(log_prob(x_next, step.mean, spread(step, "bare")) - constant, found["log_prob"])
    assert spread(step, "gaussian") is step.std


@pytest.mark.parametrize(
    "call",
    load("ddpo", "ddpo_pytorch/diffusers_patch/ddim_with_logprob.py: ddim_step_with_logprob"),
)
def test_ddim_is_ddpos_step(call):
    given, found = call.arguments, call.results
    output, sample, x_next, noise = tensors(given, "model_output", "sample", "x_next", "noise")
    now, then = bars(DDIMScheduler(**STABLE_DIFFUSION), given["steps"])
    two = slice(given["first"], given["first"] + 2)
    step = ddim(
        output, sample, now[two], then[two], eta=given["eta"], prediction=given["prediction"]
    )
    same(step.draw(noise), found["drawn"])
    # alpha_bar's float32 rounding, over 1 - alpha_bar of 1e-3 at the last steps.
    expected = torch.tensor(found["log_prob"])
    torch.testing.assert_close(log_prob(x_next, step.mean, step.std), expected, rtol=1e-5, atol=0)


# Published settings, by hand.


@pytest.mark.parametrize(
    ("shift", "eta", "expected"),
    [
        # FLUX: s0 = 0.3 sqrt(1 - 45/46), s15 = 0.3 sqrt(1/6)
        (3.0, 0.3, {0: 0.044233, 14: 0.109545, 15: 0.122474}),
        (5.0, 0.25, {0: 0.028677, 14: 0.102062}),  # HunyuanVideo
        (7.0, 0.3, {0: 0.029139, 14: 0.127920}),  # SkyReels
    ],
)
def test_the_noise_of_dancegrpos_recipes(shift, eta, expected):
    sigmas, _ = flow_schedule(FlowMatchEulerDiscreteScheduler(shift=shift), 16, even=True)
    x = numbers(0, 2, 3)
    for index, std in expected.items():
        step = dance(x, x, sigmas[index], sigmas[index + 1], eta=eta)
        assert step.std.item() == pytest.approx(std, abs=1e-6)


def test_the_noise_of_flow_grpos_rule():
    # g sqrt(D) of the first: 0.7 sqrt(1 / (1 - 45/46)) sqrt(1 - 45/46) = 0.7.
    sigmas, _ = flow_schedule(FlowMatchEulerDiscreteScheduler(shift=3.0), 16, even=True)
    x = numbers(0, 2, 3)
    for index, std in {0: 0.7, 1: 0.72314, 14: 0.16733}.items():
        step = flow(
            x, x, sigmas[index], sigmas[index + 1], noise_level=0.7, sigma_max=sigmas[1].item()
        )
        assert step.std.item() == pytest.approx(std, abs=1e-5)


def test_the_noise_of_stable_diffusion():
    scheduler = DDIMScheduler(**STABLE_DIFFUSION)
    now, then = bars(scheduler, 50)
    assert now[0].item() == pytest.approx(0.005776, abs=1e-6)
    x = numbers(0, 2, 3)
    # Steps 981 -> 961, 501 -> 481, 21 -> 1 and 1 -> 0.
    for index, std in {0: 0.454463, 24: 0.294785, 48: 0.039480, 49: 0.020648}.items():
        step = ddim(x, x, now[index], then[index], eta=1.0)
        assert step.std.item() == pytest.approx(std, abs=1e-5)


# Without noise, every sampler is the library's.


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("final_alpha", [True, False])
def test_ddim_without_noise_is_the_schedulers_step(prediction, final_alpha):
    scheduler = DDIMScheduler(
        **STABLE_DIFFUSION | {"set_alpha_to_one": final_alpha, "prediction_type": prediction}
    )
    scheduler.set_timesteps(20)
    now, then = bars(scheduler, 20)
    for index, t in enumerate(scheduler.timesteps):
        out, x = numbers(2 * index, 2, 4, 3), numbers(2 * index + 1, 2, 4, 3)
        step = ddim(out, x, now[index], then[index], eta=0.0, prediction=prediction)
        library = scheduler.step(out, int(t), x, eta=0.0)
        # x0 is divided by sqrt(alpha_bar), 0.08 at first: 1e-6 of numbers up to 40.
        torch.testing.assert_close(step.mean, library.prev_sample, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(step.x0, library.pred_original_sample, rtol=1e-6, atol=1e-6)
        assert step.deterministic


def test_ode_is_the_schedulers_step():
    scheduler = ten_steps()
    sigmas = scheduler.sigmas
    for index, t in enumerate(scheduler.timesteps):
        v, x = numbers(2 * index, 2, 4, 3), numbers(2 * index + 1, 2, 4, 3)
        step = ode(v, x, sigmas[index], sigmas[index + 1])
        same(step.mean, scheduler.step(v, t, x).prev_sample, atol=1e-6)
        assert step.deterministic


def test_without_noise_all_flows_are_the_ode():
    v, x = numbers(0, 2, 4, 3), numbers(1, 2, 4, 3)
    euler = ode(v, x, 0.8, 0.6)
    for step in (
        dance(v, x, 0.8, 0.6, eta=0.0),
        flow(v, x, 0.8, 0.6, noise_level=0.0, sigma_max=0.9),
        cps(v, x, 0.8, 0.6, noise_level=0.0),
    ):
        same(step.mean, euler.mean, atol=1e-6)
        assert step.deterministic


# What the formulas say of each other.


def test_dance_and_flow_are_one_sde():
    # g = a sqrt(sigma / (1 - sigma)) = 0.6 sqrt(0.8 / 0.2) = 1.2
    v, x = numbers(0, 2, 4, 3), numbers(1, 2, 4, 3)
    ours, other = (
        flow(v, x, 0.8, 0.6, noise_level=0.6, sigma_max=0.9),
        dance(v, x, 0.8, 0.6, eta=1.2),
    )
    same(ours.mean, other.mean, atol=1e-6)
    same(ours.std, other.std, atol=1e-6)


@pytest.mark.parametrize("name", FLOWS)
def test_a_model_that_is_right_tells_the_clean_sample(name):
    x0, x1 = numbers(0, 2, 4, 3), numbers(1, 2, 4, 3)
    step = FLOWS[name](x1 - x0, noised(x0, x1, 0.75), 0.75, 0.5)
    same(step.x0, x0, atol=1e-6)


def test_cps_keeps_the_noise_level():
    x0, x1 = numbers(0, 2, 4, 3), numbers(1, 2, 4, 3)
    step = cps(x1 - x0, noised(x0, x1, 0.75), 0.75, 0.5, noise_level=0.8)
    left = (0.5**2 - step.std.item() ** 2) ** 0.5
    same(step.mean, 0.5 * x0 + left * x1, atol=1e-6)


@pytest.mark.parametrize("name", STEPS)
def test_each_sample_may_have_its_own_sigma(name):
    out, x = numbers(0, 3, 4, 2, 2), numbers(1, 3, 4, 2, 2)
    now = torch.tensor([0.25, 0.5, 0.75])
    # A flow's sigma falls; a diffusion model's alpha_bar rises.
    then = now + 0.125 if name.startswith("ddim") else now - 0.125
    together = STEPS[name](out, x, now, then)
    assert together.std.shape == (3, 1, 1, 1)
    for i in range(3):
        alone = STEPS[name](out[i : i + 1], x[i : i + 1], now[i].item(), then[i].item())
        for ours, other in (
            (together.mean, alone.mean),
            (together.std, alone.std),
            (together.x0, alone.x0),
        ):
            same(ours[i : i + 1], other, atol=1e-6)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_whatever_the_dtype_arithmetic_is_in_float32(name, dtype):
    out, x = numbers(0, 2, 4, 3).to(dtype), numbers(1, 2, 4, 3).to(dtype)
    now, then = (0.5, 0.625) if name.startswith("ddim") else (0.625, 0.5)
    step = STEPS[name](out, x, torch.tensor(now, dtype=dtype), torch.tensor(then, dtype=dtype))
    exact = STEPS[name](out.float(), x.float(), now, then)
    for ours, other in ((step.mean, exact.mean), (step.std, exact.std), (step.x0, exact.x0)):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, other)


def test_wrong_parameters_are_refused():
    x = numbers(0, 2, 3)
    with pytest.raises(UsageError, match=r"got 1\.5"):
        ddim(x, x, 0.5, 0.75, eta=1.5)
    with pytest.raises(UsageError, match=r"got -0\.1"):
        cps(x, x, 0.75, 0.5, noise_level=-0.1)
    with pytest.raises(UsageError, match="unknown prediction 'sample'"):
        ddim(x, x, 0.5, 0.75, eta=1.0, prediction="sample")
    with pytest.raises(UsageError, match="3 values given for 2 samples"):
        ode(x, x, torch.ones(3), 0.5)
