"""FLUX.1: packed latents, guidance as an input, classifier-free guidance where it is asked for."""

import math

import pytest
import tiny_pipelines
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from golden import dance_flux
from golden.calls import load as load_calls
from tiny_policies import config, inputs, sampling

from grpo import policies
from grpo.rollout import Plan, collect
from grpo.sde import log_prob
from grpo.testing import check_policy, check_sampling
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine

# Its T5 spells: a letter is a token.
SMALL = {"height": 32, "width": 32, "max_sequence_length": 16}
OBLONG = {**SMALL, "height": 24, "width": 40}
DANCE = "fastvideo/train_grpo_flux.py"
TRUE = {"true_guidance": 4.0, "negative_prompt": "two"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("pipelines")
    return {name: tiny_pipelines.saved(name, home) for name in ("flux", "flux-schnell")}


def made(folder, **sampler):
    return policies.of(load(folder, device="cpu"), config("flux", sampler=SMALL | sampler))


@pytest.mark.parametrize("guidance", [{}, TRUE], ids=["embedded", "true"])
@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_flux_conforms(folders, parameters, guidance, tmp_path):
    run = config(
        "flux", sampler={"guidance": 3.5, **OBLONG, **guidance}, policy={"parameters": parameters}
    )
    check_policy(policies.of(load(folders["flux"], device="cpu"), run), run, tmp_path)


def test_schnell_has_no_input_for_guidance(folders, tmp_path):
    run = config("flux", sampler=OBLONG)
    policy = policies.of(load(folders["flux-schnell"], device="cpu"), run)
    check_policy(policy, run, tmp_path)


@pytest.mark.parametrize("schedule", ["scheduler", "uniform"])
def test_a_shift_by_the_number_of_tokens_is_the_pipelines(folders, schedule):
    policy = made(folders["flux"], **OBLONG)
    pipe = policy.pipeline.diffusers
    pipe.scheduler.register_to_config(use_dynamic_shifting=True)
    check_sampling(policy, sampling("flux", schedule=schedule))
    # 6 x 10 latents are 15 tokens; from 256 to 4096 of them, mu grows from 0.5 to 1.15.
    found = policy.schedule(sampling("flux")).sigmas
    expected = FlowMatchEulerDiscreteScheduler(shift=math.exp(0.5 + 0.65 * (15 - 256) / 3840))
    expected.set_timesteps(sigmas=[1, 0.75, 0.5, 0.25])
    torch.testing.assert_close(found, expected.sigmas, rtol=0, atol=1e-4)


def test_an_explicit_shift_takes_the_place_of_the_schedulers(folders):
    policy = made(folders["flux"])
    policy.pipeline.diffusers.scheduler.register_to_config(use_dynamic_shifting=True)
    check_sampling(policy, sampling("flux", shift=5.0), FlowMatchEulerDiscreteScheduler(shift=5.0))


def test_embedded_guidance_is_one_call_and_matters(folders):
    policy = made(folders["flux"], guidance=3.5)
    x, timesteps, condition = inputs(policy)
    sizes = []
    policy.network.register_forward_pre_hook(
        lambda module, given, named: sizes.append(len(named["guidance"])), with_kwargs=True
    )
    with torch.no_grad():
        output = policy.predict(x, timesteps, condition)
        policy.protocol = policy.protocol.model_copy(update={"guidance": 1.0})
        other = policy.predict(x, timesteps, condition)
    assert x.shape == (2, 16, 16) and condition.halves == 1 and sizes == [2, 2]
    assert (output - other).abs().max() > 1e-4


def test_positions_are_shared_by_the_batch(folders):
    policy = made(folders["flux"], **OBLONG)
    condition = policy.encode([PromptLine("", "a"), PromptLine("", "b")])
    assert condition.shared["img_ids"].shape == (15, 3)
    assert condition.shared["img_ids"][-1].tolist() == [0, 2, 4]
    assert torch.equal(condition.index([1]).shared["txt_ids"], torch.zeros(16, 3))


# DanceGRPO's own loop.


@pytest.fixture(scope="module")
def dance(tmp_path_factory):
    return dance_flux.policy(tmp_path_factory.mktemp("dance"))


@pytest.mark.parametrize(
    "call", load_calls("dancegrpo-flux", f"{DANCE}: run_sample_step, grpo_one_step")
)
def test_a_rollout_is_dancegrpos(dance, call):
    sampler, line = dance_flux.config().sampler, dance_flux.line(call.arguments["prompt"])
    schedule = dance.schedule(sampler)
    every = torch.arange(schedule.steps)
    plan = Plan(frozenset(every.tolist()), every[None])
    rollout = collect(dance, schedule, [line], sampler, plan, dance_flux.KEYS)
    past, rows = rollout.transitions, torch.arange(dance_flux.GROUP)
    replayed = []
    for k in every.tolist():
        x, x_next = past.step(rows, k, dance.device)
        with torch.no_grad():
            timesteps = schedule.timesteps[past.index[:, k]]
            output = dance.predict(x, timesteps, rollout.condition_of(rows))
        step = schedule.step(output, x, past.index[:, k])
        replayed.append(log_prob(x_next, step.mean, step.std))
    ours = {
        "states": dance_flux.chosen(past.states),
        "clean": dance_flux.chosen(rollout.clean),
        "log_probs": past.log_prob,
        "replayed": torch.stack(replayed, dim=1),
    }
    for name, values in ours.items():
        expected = torch.tensor(call.results[name])
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)
