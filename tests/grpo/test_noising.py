"""Which noise clean samples are given again: who shares it, and which steps it is from."""

from types import SimpleNamespace

import pytest
import torch
from golden.calls import numbers

from grpo.objectives.forward_process import ForwardProcessConfig
from grpo.objectives.noising import noised_steps, ramp
from grpo.objectives.objective import Samples
from grpo.sampler import DiffusionSampler, FlowSampler

GROUPS, SIZE, STEPS = 2, 3, 14
FLOW = FlowSampler(
    timesteps=torch.linspace(1000, 50, STEPS),
    noise_level=0.0,
    rule="ode",
    sigmas=torch.linspace(1, 0, STEPS + 1),
)


def noisings(rows, keys=(0, 1), sampler=FLOW, **settings):
    """Steps [n, K] and noise [n, K, ...] of some samples of two groups of three."""
    config = ForwardProcessConfig.model_validate(
        {"kind": "forward-process", "timesteps": 6} | settings
    )
    rollout = SimpleNamespace(
        clean=numbers(0, GROUPS * SIZE, 2, 2),
        owner=torch.arange(GROUPS).repeat_interleave(SIZE),
    )
    samples = Samples(rollout, torch.tensor(rows), None, {}, torch.zeros(len(rows)))
    found = [*noised_steps(samples, sampler, config, keys)]
    return torch.stack([n.index for n in found], 1), torch.stack([n.noise for n in found], 1)


def test_a_group_shares_its_steps_and_noise_in_whatever_batches_it_is():
    steps, noise = noisings([0, 1, 2, 3, 4, 5], noise="group")
    for group in (steps[:3], steps[3:], noise[:3], noise[3:]):
        assert torch.equal(group[0], group[1]) and torch.equal(group[0], group[2])
    assert not torch.equal(noise[0], noise[3])
    again, noise_again = noisings([4, 0], noise="group")
    assert torch.equal(again, steps[[4, 0]]) and torch.equal(noise_again, noise[[4, 0]])
    alone, own = noisings([0, 1, 2])
    assert not torch.equal(alone[0], alone[1]) and not torch.equal(own[0], own[1])


def test_stratified_steps_are_one_of_each_part_as_those_of_the_authors_of_awm():
    """Without the first of 14 steps, and up to 0.9 of them: parts begin at 1, 2, 4, 6, 8, 10."""
    settings = {"skip": 1, "within": 12, "stratified": True}
    seen = torch.cat([noisings(range(6), (0, key), **settings)[0] for key in range(40)])
    least, most = torch.tensor([1, 2, 4, 6, 8, 10]), torch.tensor([1, 3, 5, 7, 9, 11])
    assert torch.equal(seen.amin(0), least) and torch.equal(seen.amax(0), most)


def test_steps_are_distinct_and_within_their_bounds():
    seen = torch.cat([noisings(range(6), (0, k), skip=2, within=9)[0] for k in range(40)])
    assert all(len(set(row)) == 6 for row in seen.tolist())
    assert (seen.min(), seen.max()) == (2, 8)
    assert len(seen[:, 0].unique()) == 7  # any of them may be the first


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_network_that_hits_its_target_knows_the_clean_sample(prediction):
    alphas = torch.tensor([0.1, 0.5, 0.9])
    diffusion = DiffusionSampler(
        timesteps=torch.tensor([900, 500, 100]),
        noise_level=0.0,
        starts=alphas,
        ends=alphas,
        prediction=prediction,
    )
    x0, noise, index = numbers(1, 3, 2, 2), numbers(2, 3, 2, 2), torch.arange(3)
    for sampler in (diffusion, FLOW):
        x, target = sampler.noised(x0, noise, index), sampler.target(x0, noise, index)
        torch.testing.assert_close(sampler.clean(target, x, index), x0, rtol=1e-4, atol=1e-5)


def test_copies_follow_as_published():
    # Flow-Factory's compute_decay of "0-0.25-0.005-0.999" and "75-0.0-0.0075-0.999".
    old = [ramp(k, slope=0.005, cap=0.999, least=0.25) for k in (0, 100, 1000)]
    assert old == pytest.approx([0.25, 0.75, 0.999])
    drawing = [ramp(k, slope=0.0075, cap=0.999, start=75) for k in (74, 175, 1000)]
    assert drawing == pytest.approx([0, 0.75, 0.999])
