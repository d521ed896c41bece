"""A sampler is diffusers' first-order scheduler, step for step, with a probability."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    PNDMScheduler,
)
from tiny_policies import STEPS, sampling

from grpo import sde
from grpo.sampler import DiffusionSampler, FlowSampler
from grpo.schedules import linear_shift
from grpo.sde import log_prob, spread
from rewardkit.errors import UsageError

CPU = torch.device("cpu")
SHAPE = (2, 4, 3, 5)
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FLOW = FlowMatchEulerDiscreteScheduler(shift=3.0)


def diffusion(level=0.7, scheduler=None, **settings):
    scheduler = scheduler or PNDMScheduler(**BETAS, steps_offset=1, **settings)
    return DiffusionSampler.from_scheduler(scheduler, sampling("sd", noise_level=level), CPU)


def flow(rule="flow", scheduler=FLOW, tokens=16, **changes):
    level = 0.0 if rule == "ode" else 0.7
    config = sampling("sd3", rule=rule, noise_level=level, **changes)
    return FlowSampler.from_scheduler(
        scheduler, config, CPU, mu=linear_shift(scheduler.config, tokens)
    )


SAMPLERS = {
    "ddim": diffusion,
    "ddim-v": lambda: diffusion(prediction_type="v_prediction"),
    **{rule: lambda rule=rule: flow(rule) for rule in ("dance", "flow", "cps", "ode")},
}


def normal(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def close(ours, theirs, atol=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    return SAMPLERS[request.param]()


# Diffusion.


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_a_diffusion_sampler_walks_as_ddim(spacing, prediction, eta):
    settings = BETAS | {"timestep_spacing": spacing, "prediction_type": prediction}
    ddim = DDIMScheduler(**settings, clip_sample=False, steps_offset=1, set_alpha_to_one=False)
    ddim.set_timesteps(STEPS)
    ours = diffusion(eta, DDIMScheduler.from_config(ddim.config))
    assert torch.equal(ours.timesteps, ddim.timesteps)
    x = normal(0)
    for i, timestep in enumerate(ddim.timesteps):
        output, noise = normal(2 * i + 1), normal(2 * i + 2)
        expected = ddim.step(output, timestep, x, eta=eta, variance_noise=noise if eta else None)
        step = ours.step(output, x, i)
        close(step.draw(noise), expected.prev_sample)
        close(step.x0, expected.pred_original_sample, atol=1e-4)
        x = expected.prev_sample


def test_whatever_the_scheduler_the_model_is_the_same():
    settings = BETAS | {"steps_offset": 1, "timestep_spacing": "leading"}
    by_pndm = diffusion(scheduler=PNDMScheduler(**settings))
    by_euler = diffusion(scheduler=EulerDiscreteScheduler(**settings))
    assert torch.equal(by_pndm.starts, by_euler.starts)
    # 4 steps of 1000, and the offset.
    assert by_pndm.timesteps.tolist() == by_euler.timesteps.tolist() == [751, 501, 251, 1]


@pytest.mark.parametrize("clip", [True, False])
def test_that_a_scheduler_would_clip_is_told(clip, caplog):
    diffusion(scheduler=DDIMScheduler(clip_sample=clip))
    assert ("clip_sample is set" in caplog.text) == clip


# Flows.


@pytest.mark.parametrize(
    "settings",
    [{"shift": 3.0}, {"shift": 3.0, "use_karras_sigmas": True}, {"shift_terminal": 0.1}],
    ids=lambda settings: "-".join(settings),
)
def test_a_flow_sampler_walks_as_euler_along_the_schedulers_sigmas(settings):
    euler = FlowMatchEulerDiscreteScheduler(**settings)
    ours = flow("ode", euler)
    euler.set_timesteps(STEPS)
    assert torch.equal(ours.sigmas, euler.sigmas)
    assert torch.equal(ours.timesteps, euler.timesteps)
    x = normal(0)
    for i, timestep in enumerate(euler.timesteps):
        output = normal(i + 1)
        expected = euler.step(output, timestep, x).prev_sample
        close(ours.step(output, x, i).mean, expected)
        x = expected


def test_a_shift_replaces_the_schedulers_own_even_one_by_size():
    euler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    euler.set_timesteps(STEPS)
    for own in (FLOW, FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)):
        assert torch.equal(flow(scheduler=own, shift=5.0).sigmas, euler.sigmas)


def test_even_sigmas_are_dancegrpos():
    # u = 1, 3/4, 1/2, 1/4, 0 becomes 3 u / (1 + 2 u).
    close(flow(schedule="uniform").sigmas, torch.tensor([1, 0.9, 0.75, 0.5, 0]))


def test_a_shift_by_size_grows_with_the_tokens():
    euler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    # From 0.5 at 256 tokens to 1.15 at 4096: exp(0.5) = 1.649 and exp(1.15) = 3.158 are the shifts.
    for tokens, shift in ((256, 1.6487), (4096, 3.1582)):
        u = torch.tensor([1, 0.75, 0.5, 0.25, 0])
        even = flow(scheduler=euler, tokens=tokens, schedule="uniform").sigmas
        close(even, shift * u / (1 + (shift - 1) * u), atol=1e-4)
        euler.set_timesteps(STEPS, mu=np.log(shift))
        close(flow(scheduler=euler, tokens=tokens).sigmas, euler.sigmas, atol=1e-4)


def test_truncated_timesteps_lose_their_fraction():
    # sigmas 1, 9/10, 3/4, 1/2 with shift 3; with shift 2, 2 u / (1 + u) is 1, 6/7, 2/3, 2/5.
    told = flow(schedule="uniform", shift=2.0, truncate_timesteps=True).timesteps
    assert told.tolist() == [1000, 857, 666, 400]
    assert flow(schedule="uniform", shift=2.0).timesteps[1] == pytest.approx(857.142, abs=1e-2)


def test_sigmas_are_not_guessed():
    with pytest.raises(UsageError, match="a FlowMatchHeunDiscreteScheduler; sigmas are read from"):
        flow(scheduler=FlowMatchHeunDiscreteScheduler())


def test_a_pipelines_scheduler_stays_as_it_is():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    before = scheduler.sigmas.clone()
    flow(scheduler=scheduler, shift=5.0)
    assert torch.equal(scheduler.sigmas, before) and scheduler.shift == 3.0


# Every rule.


def test_steps_of_a_batch_are_those_of_its_samples(sampler):
    output, x, index = normal(0), normal(1), torch.tensor([2, 0])
    for stochastic in (True, False):
        batch = sampler.step(output, x, index, stochastic=stochastic)
        clean, noised = sampler.clean(output, x, index), sampler.noised(x, output, index)
        for row, i in enumerate(index.tolist()):
            step = sampler.step(output, x, i, stochastic=stochastic)
            close(batch.mean[row], step.mean[row])
            close(batch.x0[row], step.x0[row])
            std = torch.broadcast_to(batch.std, (2, 1, 1, 1))
            close(std[row], torch.broadcast_to(step.std, (2, 1, 1, 1))[row])
            close(clean[row], step.x0[row], atol=1e-4)
            close(noised[row], sampler.noised(x, output, i)[row])


def test_without_noise_a_step_goes_where_the_noiseless_sampler_goes(sampler):
    output, x = normal(0), normal(1)
    noiseless = diffusion(0.0) if isinstance(sampler, DiffusionSampler) else flow("ode")
    if isinstance(sampler, DiffusionSampler) and sampler.prediction == "v_prediction":
        noiseless = diffusion(0.0, prediction_type="v_prediction")
    for i in range(STEPS):
        step = sampler.step(output, x, i, stochastic=False)
        assert step.deterministic
        close(step.mean, noiseless.step(output, x, i).mean)


def test_the_right_output_at_a_noised_sample_gives_the_sample_back(sampler):
    x0, noise = normal(0), normal(1)
    for i in range(STEPS):
        if isinstance(sampler, FlowSampler):
            output = noise - x0
        elif sampler.prediction == "epsilon":
            output = noise
        else:
            a = sampler.starts[i]
            output = a.sqrt() * noise - (1 - a).sqrt() * x0
        x = sampler.noised(x0, noise, i)
        close(sampler.clean(output, x, i), x0)
        scale, level = sampler.as_flow(torch.tensor([i]))
        assert scale.shape == level.shape == (1,)
        close(scale * x - level * output, x0)


@pytest.mark.parametrize(
    ("made", "steps"),
    [
        (lambda: diffusion(1.0, set_alpha_to_one=False), [0, 1, 2, 3]),
        # The last step ends at alpha_bar 1, where there is no noise.
        (lambda: diffusion(1.0, set_alpha_to_one=True), [0, 1, 2]),
        (lambda: diffusion(0.0), []),
        (lambda: flow("dance"), [0, 1, 2, 3]),
        (lambda: flow("flow"), [0, 1, 2, 3]),
        # cps ends with the noise of sigma', which is 0 at last.
        (lambda: flow("cps"), [0, 1, 2]),
        (lambda: flow("ode"), []),
    ],
)
def test_the_steps_that_draw_noise_are_those_with_a_density(made, steps):
    assert made().stochastic_steps() == steps


# How strongly a step pulls, and limits on its noise.

HALF = FlowMatchEulerDiscreteScheduler(shift=1.0)


def even(rule, shift, level, **changes):
    """16 evenly spaced steps, shifted."""
    settings = {"steps": 16, "schedule": "uniform", "shift": shift, **changes}
    config = sampling("sd3", rule=rule, noise_level=level, **settings)
    return FlowSampler.from_scheduler(HALF, config, CPU)


@pytest.mark.parametrize("kind", ["gaussian", "bare"])
def test_the_gradient_factor_is_that_of_the_log_probability(sampler, kind):
    factors = sampler.gradient_factors(kind)
    random = sampler.stochastic_steps()
    assert (factors > 0).nonzero().flatten().tolist() == random
    for i in random:
        output, z = normal(1).requires_grad_(), normal(2)
        step = sampler.step(output, normal(0), i)
        x_next = step.draw(z).detach()
        likelihood = log_prob(x_next, step.mean, spread(step, kind)).sum()
        (gradient,) = torch.autograd.grad(likelihood, output)
        close(gradient.abs() * z[0].numel(), factors[i] * z.abs(), atol=1e-4 * float(factors[i]))


@pytest.mark.parametrize(
    ("rule", "level", "shift", "expected"),
    [  # of the steps 1, 7 and 14
        ("flow", 0.7, 3.0, (0.04083, 0.19021, 0.99204)),
        ("flow", 0.7, 5.0, (0.02483, 0.12558, 0.85913)),
        ("dance", 0.3, 3.0, (0.514, 0.708, 1.345)),
        ("dance", 0.3, 5.0, (0.403, 0.601, 1.447)),
    ],
)
def test_early_steps_of_a_shifted_flow_pull_less(rule, level, shift, expected):
    sampler = even(rule, shift, level)
    factors = sampler.gradient_factors("gaussian")[[1, 7, 14]]
    assert factors.tolist() == pytest.approx(expected, rel=2e-3)
    # The formula of each rule.
    now, size = sampler.sigmas[[1, 7, 14]], -sampler.sigmas.diff()[[1, 7, 14]]
    g = level * ((now / (1 - now)).sqrt() if rule == "flow" else 1)
    close(factors, size.sqrt() / g * (1 + g**2 / 2 * (1 - now) / now))
    close(sampler.sizes(), -sampler.sigmas.diff())


@pytest.mark.parametrize(
    ("shift", "weight", "std"), [(3.0, 43.560303, 1.033051), (5.0, 71.624018, 1.047135)]
)
def test_longcats_rules(shift, weight, std):
    free = even("flow", shift, 1.0)
    # Its weight, sqrt(sigma / (1 - sigma)) / sqrt(D), is ours times (1 + a^2 / 2) / a.
    assert 1.5 / float(free.gradient_factors("gaussian")[1]) == pytest.approx(weight, rel=1e-5)
    x, v = normal(0), normal(1)
    limited = even("flow", shift, 1.0, max_std=0.45)
    assert free.step(v, x, 1).std.item() == pytest.approx(std, rel=1e-5)
    assert limited.step(v, x, 1).std.item() == pytest.approx(0.45, rel=1e-5)
    # As a diffusion g = 0.45 / sqrt(D), in the drift too.
    g = 0.45 / float(limited.sizes()[1]) ** 0.5
    now, then = limited.sigmas[1], limited.sigmas[2]
    close(limited.step(v, x, 1).mean, sde.dance(v, x, now, then, eta=g).mean)
    assert torch.equal(limited.step(v, x, 14).mean, free.step(v, x, 14).mean)


def test_a_limit_holds_in_every_rule_and_leaves_smaller_noise_alone(sampler):
    std = sampler.step(normal(0), normal(1), torch.arange(2)).std.flatten()
    limit = float(std[:2].mean()) or 1.0
    limited = replace(sampler, max_std=limit)
    for i in range(sampler.steps):
        ours, free = (each.step(normal(0), normal(1), i) for each in (limited, sampler))
        assert ours.std.item() == pytest.approx(min(free.std.item(), limit), rel=1e-4)
        close(ours.x0, free.x0)
        if free.std.item() <= limit:
            close(ours.mean, free.mean)
    if isinstance(sampler, FlowSampler) and sampler.rule == "cps":
        # The noise level is still sigma'.
        then, step = limited.sigmas[1], limited.step(normal(0), normal(1), 0)
        x1 = normal(1) + (1 - limited.sigmas[0]) * normal(0)
        kept = (step.mean - (1 - then) * step.x0) / x1
        close(kept, (then**2 - step.std**2).sqrt().expand_as(kept), atol=1e-3)
