"""Samples belong to (seed, step, prompt, sample), and what is kept is what happened."""

import math

import pytest
import tiny_policies
import torch
from tiny_policies import policy, sampling

from grpo.rollout import Plan, collect
from grpo.sde import log_prob
from rewardkit.media.prompts import PromptLine

PROMPTS = [PromptLine("", "a red ring"), PromptLine("", "two boxes")]
FAMILIES = ["sd", "sd3"]
ALL = torch.tensor([[0, 1, 2]] * 2)  # the last of 4 steps draws no noise in DDIM


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(scope="module")
def made(folders):
    """A policy of each family that is not its base; without guidance, and with."""
    return {
        (name, guidance): policy(folders[name], sampler={"guidance": guidance})
        for name in FAMILIES
        for guidance in (1.0, 4.0)
    }


def drawn(one, name, *, plan=None, keys=(0, 0), prompts=PROMPTS, **changes):
    """A rollout of two prompts with three samples each."""
    config = sampling(name, **{"group_size": 3, "batch_size": 4, **changes})
    sampler = one.schedule(config)
    plan = plan or Plan(frozenset(sampler.stochastic_steps()), ALL[: len(prompts)])
    return collect(one, sampler, prompts, config, plan, keys)


def tensors(rollout):
    past = rollout.transitions
    return rollout.clean, past.x, past.x_next, past.log_prob


def close(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("noise", ["sample", "group"])
def test_the_batch_size_changes_nothing(made, name, guidance, noise):
    # The first step of a window is not the first of all: groups that share noise share a prefix.
    plan = Plan(frozenset({1, 2}), ALL[:, 1:])
    one = made[name, guidance]
    rollouts = [drawn(one, name, noise=noise, plan=plan, batch_size=size) for size in (1, 4, 6)]
    for other in rollouts[1:]:
        close(tensors(other), tensors(rollouts[0]))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_sample_is_its_seed_step_prompt_and_number(made, name):
    one = made[name, 1.0]
    rollout = drawn(one, name)
    again = drawn(one, name, prompts=PROMPTS[:1], group_size=2)  # rows 0 and 1 of the first prompt
    close(tensors(again), tuple(tensor[:2] for tensor in tensors(rollout)))
    for keys in ((1, 0), (0, 1)):
        other = drawn(one, name, keys=keys)
        for was, now in zip(tensors(rollout)[:3], tensors(other)[:3], strict=True):
            assert (was - now).abs().flatten(1).amax(1).min() > 0.1
    # The same prompt twice is two prompts.
    twice = drawn(one, name, prompts=[PROMPTS[0]] * 2)
    assert (twice.clean[:3] - twice.clean[3:]).abs().flatten(1).amax(1).min() > 0.1


@pytest.mark.parametrize(("noise", "different"), [("sample", 6), ("group", 2), ("step", 1)])
def test_the_initial_noise_is_shared_as_said_and_no_other(made, noise, different):
    past = drawn(made["sd", 1.0], "sd", noise=noise).transitions
    assert len(past.x[:, 0].unique(dim=0)) == different
    # What the first step adds is each sample's own.
    assert len(past.x_next[:, 0].unique(dim=0)) == 6


@pytest.mark.parametrize(("noise", "rows"), [("sample", 4 * 6), ("group", 2 * 2 + 2 * 6)])
def test_steps_before_the_first_noise_are_taken_once_per_group(made, monkeypatch, noise, rows):
    one, calls = made["sd3", 1.0], []
    real = one.predict
    monkeypatch.setattr(one, "predict", lambda x, *rest: calls.append(len(x)) or real(x, *rest))
    rollout = drawn(one, "sd3", noise=noise, plan=Plan(frozenset({2}), ALL[:, 2:]))
    assert sum(calls) == rows  # of 4 steps, 2 are before
    assert len(rollout.transitions.x[:, 0].unique(dim=0)) == (6 if noise == "sample" else 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_kept_is_planned_and_no_more(made, name):
    kept = torch.tensor([[0, 2], [1, 2]])
    rollout = drawn(made[name, 1.0], name, plan=Plan(frozenset({0, 1, 2}), kept))
    whole = drawn(made[name, 1.0], name)
    past, all_steps = rollout.transitions, whole.transitions
    assert past.index.tolist() == [[0, 2]] * 3 + [[1, 2]] * 3
    assert past.x.shape == past.x_next.shape == (6, 2, *rollout.clean.shape[1:])
    for row in range(6):
        columns = past.index[row]
        assert torch.equal(past.x[row], all_steps.x[row, columns])
        assert torch.equal(past.x_next[row], all_steps.x_next[row, columns])
        assert torch.equal(past.log_prob[row], all_steps.log_prob[row, columns])
    # A step begins where the one before it ended.
    assert torch.equal(all_steps.x[:, 1:], all_steps.x_next[:, :-1])
    nothing = drawn(made[name, 1.0], name, plan=Plan(frozenset(), torch.zeros(2, 0).long()))
    assert nothing.transitions.log_prob.shape == (6, 0)


def test_each_sample_may_keep_steps_of_its_own(made):
    kept = torch.tensor([[0, 1], [0, 2], [1, 2], [0, 2], [1, 2], [0, 1]])
    past = drawn(made["sd3", 1.0], "sd3", plan=Plan(frozenset({0, 1, 2}), kept)).transitions
    whole = drawn(made["sd3", 1.0], "sd3").transitions
    assert torch.equal(past.index, kept)
    for row in range(6):
        assert torch.equal(past.x_next[row], whole.x_next[row, kept[row]])
        assert torch.equal(past.log_prob[row], whole.log_prob[row, kept[row]])


def test_a_bare_log_probability_is_flow_cps(made):
    one = made["sd3", 1.0]
    plan = Plan(frozenset({0, 1, 2}), ALL, log_prob="bare")
    rollout = drawn(one, "sd3", plan=plan, rule="cps", batch_size=6)
    past, sampler = rollout.transitions, one.schedule(sampling("sd3", rule="cps"))
    for k in range(3):
        with torch.no_grad():
            timesteps = sampler.timesteps[k].expand(6)
            output = one.predict(past.x[:, k], timesteps, rollout.condition_of(torch.arange(6)))
        mean = sampler.step(output, past.x[:, k], k).mean
        expected = -(past.x_next[:, k] - mean).square().flatten(1).mean(1)
        close(past.log_prob[:, k] - math.log(1 / math.sqrt(math.pi)), expected)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_log_probabilities_are_those_of_the_steps_taken(made, name, guidance):
    one = made[name, guidance]
    rollout = drawn(one, name, batch_size=6)
    past, sampler = rollout.transitions, one.schedule(sampling(name))
    for k in range(3):
        with torch.no_grad():
            output = one.predict(
                past.x[:, k], sampler.timesteps[k].expand(6), rollout.condition_of(torch.arange(6))
            )
        step = sampler.step(output, past.x[:, k], k)
        s, mean = step.std.double(), step.mean.double()
        z = (past.x_next[:, k].double() - mean) / s
        expected = (-z.square() / 2 - s.log() - math.log(2 * math.pi) / 2).flatten(1).mean(1)
        close(past.log_prob[:, k].double(), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_pictures_are_of_the_clean_latents_and_on_the_cpu(made, name):
    rollout = drawn(made[name, 1.0], name, batch_size=6)
    media = torch.stack(rollout.media)
    assert torch.equal(media, torch.stack(made[name, 1.0].decode(rollout.clean)))
    assert media.dtype == torch.uint8 and media.device.type == "cpu"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_states_are_stored_once_as_the_policy_computes_and_on_the_cpu(folders, dtype):
    one = policy(folders["sd"], policy={"dtype": dtype})
    past = drawn(one, "sd").transitions
    assert past.states.dtype == getattr(torch, dtype)
    assert past.states.shape == (6, 4, *one.shape)  # three steps in a row begin and end at four
    assert {tensor.device.type for tensor in (past.states, past.log_prob)} == {"cpu"}
    # Steps 0 and 2 share none, 1 and 2 share one: rows are as long as the longest.
    plan = Plan(frozenset({0, 1, 2}), torch.tensor([[0, 2], [1, 2]]))
    apart = drawn(one, "sd", plan=plan).transitions
    assert apart.states.shape == (6, 4, *one.shape)
    assert torch.equal(apart.x[:3, 1], past.x[:3, 2]) and torch.equal(apart.x[3:], past.x[3:, 1:])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("first", [0, 2])
def test_replayed_in_the_same_batch_a_step_is_the_very_same(folders, name, dtype, first):
    # The initial noise is drawn in float32, and what comes before a window is not rounded by it.
    one = policy(folders[name], policy={"dtype": dtype})
    plan = Plan(frozenset(ALL[0, first:].tolist()), ALL[:, first:])
    rollout = drawn(one, name, plan=plan, batch_size=6)
    past, sampler, rows = rollout.transitions, one.schedule(sampling(name)), torch.arange(6)
    for k in range(3 - first):
        x, x_next = past.step(rows, k, one.device)
        with torch.no_grad():
            output = one.predict(
                x, sampler.timesteps[past.index[rows, k]], rollout.condition_of(rows)
            )
        step = sampler.step(output, x, past.index[rows, k])
        assert torch.equal(log_prob(x_next, step.mean, step.std), past.log_prob[:, k])
