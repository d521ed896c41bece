"""Objectives of the forward process: their losses written out, who draws, and what is refused."""

import numpy as np
import pytest
import tiny_policies
import tiny_runs
import torch
from pydantic import ValidationError

from grpo.rollout import collect

CLIP = 1e-3  # some ratios of the group preference are outside
ADVANTAGE = torch.tensor([1.0, -0.5, 6.0, 0.3, 0.9, -1.2])  # one is beyond the clip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def trainer(folders, kind, **objective):
    tried = tiny_runs.KINDS[kind]
    settings = tried.settings | tried.more | objective
    made = tiny_runs.trainer(
        tiny_runs.config(folders["sd3"], objective=settings, sampler={"batch_size": 6})
    )
    # No copy of the weights is any other, nor the trained ones.
    copies = [made.policy.parameters(), *(bank.values for bank in made.policy.banks.values())]
    with torch.no_grad():
        for place, values in enumerate(copies):
            for value in values.values():
                noise = torch.Generator().manual_seed(place)
                value.add_(0.1 * torch.randn(value.shape, generator=noise))
    return made


def distance(one, other):
    return (one - other).square().flatten(1).mean(1)


def weighted_matching(outputs, new, target, sigma):
    def log_likelihood(v):
        return -4 * sigma * ((distance(v, target) + 1e-10) ** 0.25 - 1e-10**0.25)

    a = ADVANTAGE.clamp(-5, 5)
    ratio = (log_likelihood(new) - log_likelihood(outputs["old"])).exp()
    clipped = torch.maximum(-a * ratio, -a * ratio.clamp(0, 2)).mean()
    return clipped + (0.1 * distance(new, outputs["start"]) + distance(new, outputs["slow"])).mean()


def group_preference(outputs, new, target, sigma):
    a, error = ADVANTAGE.clamp(-5, 5), distance(new, target)
    gap = 10 * a * (error - distance(outputs["start"], target)).detach()
    weight = gap.view(2, 3).mean(1).sigmoid().repeat_interleave(3)
    ratio = (distance(outputs["old"], target) - error).detach().exp()
    free = torch.where(a > 0, ratio <= 1 + CLIP, ratio >= 1 - CLIP)
    assert free.any() and not free.all()
    loss = (weight * a * torch.where(free, error, error.detach())).mean()
    return loss + 0.1 * distance(new, outputs["start"]).mean()


def centered_reward(outputs, new, target, sigma):
    def error(v):
        return distance(v, target) / (v - target).abs().flatten(1).mean(1).detach()

    reward, q = error(outputs["old"]) - error(new), 0.5 + ADVANTAGE.clamp(-5, 5) / 10
    centered = (reward - reward.mean().detach()) - (q - q.mean())
    penalty = (1e-4 + q * (0.1 - 1e-4)) * distance(new, outputs["start"])
    return 5 * centered.square().mean() + penalty.mean()


@pytest.mark.parametrize("written_out", [weighted_matching, group_preference, centered_reward])
def test_a_loss_is_its_formula_over_the_right_copies_of_the_weights(folders, written_out):
    clip = {"clip_range": CLIP} if written_out is group_preference else {}
    made = trainer(folders, written_out.__name__.replace("_", "-"), **clip)
    objective, policy = made.objective, made.policy
    plan = objective.plan(2, np.random.default_rng(0))
    lines = made.choose(0)
    rollout = collect(policy, made.sampler, lines, made.config.sampler, plan, (0, 0))
    samples, keys = made.samples(rollout, torch.arange(6), {}, ADVANTAGE), (0, 0, 4, 0)
    expected = []
    for noised in objective.noised(samples, keys):
        outputs = {
            name: objective.output_of(name, samples, noised) for name in (*policy.banks, "start")
        }
        new, target = objective.output(samples, noised), noised.noise - noised.x0
        sigma = made.sampler.sigmas[noised.index]
        expected.append(written_out(outputs, new, target, sigma))
    objective.survey([samples], keys)
    found = sum(term.loss * term.share for term in objective.terms(samples, keys))
    weights = [*policy.parameters().values()]
    theirs = torch.stack(expected).mean()
    torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-6)
    ours, whole = (torch.autograd.grad(loss, weights) for loss in (found, theirs))
    for one, other in zip(ours, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_copy_that_draws_samples_is_in_force_while_they_are_drawn(folders):
    for kind, name, settings in [
        ("group-preference", "old", {"old_draws_after": 1}),
        ("centered-reward", "drawing", {}),
    ]:
        made = trainer(folders, kind, **settings)
        copy = made.policy.banks[name].values
        drawn = []
        for updates in (1, 2):
            made.objective.updates = updates
            with made.objective.behaviour():
                weights = made.policy.parameters().items()
                drawn.append(all(torch.equal(weight, copy[key]) for key, weight in weights))
        assert drawn == [kind == "centered-reward", True]


@pytest.mark.parametrize(
    ("kind", "settings", "sampler", "message"),
    [
        ("group-preference", {"updates": 2}, {}, "compares whole groups, so that each update"),
        ("group-preference", {"noise": "sample"}, {}, "Input should be 'group'"),
        ("weighted-matching", {"within": 4}, {}, "within is 4; it is at most sampler.steps, 3"),
        ("weighted-matching", {"skip": 2}, {}, "timesteps is 2; it is at most 1, the steps that"),
        ("centered-reward", {"timesteps": 4}, {}, "timesteps is 4; it is at most sampler.steps, 3"),
        ("centered-reward", {}, {"group_size": 1}, "group_size is 1; it is at least 2"),
    ],
)
def test_settings_of_the_forward_process_that_do_not_fit_are_refused(
    folders, kind, settings, sampler, message
):
    tried = tiny_runs.KINDS[kind]
    with pytest.raises(ValidationError, match=message):
        tiny_runs.config(folders["sd3"], objective=tried.settings | settings, sampler=sampler)
