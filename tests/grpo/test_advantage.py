import math

import pytest
import torch
from golden.calls import load, numbers
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from grpo.advantage import Standard, best_and_worst, combine, standardise
from rewardkit.errors import InputError, UsageError

GROUP = Standard()


def same(ours, theirs, atol=1e-5):
    torch.testing.assert_close(
        ours, torch.as_tensor(theirs, dtype=torch.float32), rtol=0, atol=atol
    )


@st.composite
def rewards(draw):
    shape = draw(st.integers(1, 4)), draw(st.integers(2, 8))
    # Steps of 1/64 from -8 to 8: sums are exact, and no group is nearly constant.
    ticks = draw(
        st.lists(st.integers(-512, 512), min_size=math.prod(shape), max_size=math.prod(shape))
    )
    return torch.tensor(ticks).view(shape) / 64


standards = st.builds(
    Standard,
    baseline=st.sampled_from(["group", "batch"]),
    scale=st.sampled_from(["group", "batch", "max", "none"]),
    unbiased=st.booleans(),
)


# What upstream's own code gave.


@pytest.mark.parametrize(
    "call", load("dancegrpo", "fastvideo/train_grpo_flux.py: train_one_step, advantages")
)
def test_group_advantages_are_dancegrpos(call):
    ours = standardise(torch.tensor(call.arguments["rewards"]), Standard())
    same(ours, call.results["advantages"])


@pytest.mark.parametrize(
    "call", load("ddpo", "ddpo_pytorch/stat_tracking.py: PerPromptStatTracker.update")
)
def test_batch_and_group_advantages_are_ddpos(call):
    scope = call.arguments["scope"]
    by = Standard(baseline=scope, scale=scope, unbiased=False, eps=1e-6)
    same(standardise(torch.tensor(call.arguments["rewards"]), by), call.results["advantages"])


@pytest.mark.parametrize(
    "call", load("flow-grpo", "flow_grpo/stat_tracking.py: PerPromptStatTracker.update")
)
def test_global_std_is_flow_grpos(call):
    by = Standard(scale=call.arguments["scale"], unbiased=False, eps=1e-4)
    same(standardise(torch.tensor(call.arguments["rewards"]), by), call.results["advantages"])


@pytest.mark.parametrize(
    "call", load("dancegrpo", "fastvideo/train_grpo_hunyuan.py: train_one_step, best-of-n")
)
def test_selection_is_dancegrpos_where_there_is_one_prompt(call):
    given = call.arguments
    chosen = best_and_worst(torch.tensor(given["scores"]), given["best"], given["worst"])
    assert chosen.tolist() == call.results["chosen"]


# By hand.

HAND = torch.tensor([[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 4.0]])
# Group means 3 and 1. Squared distances 4 + 1 + 0 + 9 = 14 and 1 + 1 + 1 + 9 = 12.
# Batch mean 2. Squared distances 1 + 0 + 1 + 16 and 4 + 4 + 4 + 4: 34.


@pytest.mark.parametrize(
    ("by", "first", "second"),
    [
        (Standard(eps=0), -2 / math.sqrt(14 / 3), 3 / math.sqrt(12 / 3)),
        (Standard(eps=0, unbiased=False), -2 / math.sqrt(14 / 4), 3 / math.sqrt(12 / 4)),
        (Standard(eps=1.0, unbiased=False), -2 / (1 + math.sqrt(3.5)), 3 / (1 + math.sqrt(3))),
        (Standard(eps=0, scale="batch"), -2 / math.sqrt(34 / 7), 3 / math.sqrt(34 / 7)),
        (Standard(eps=0, scale="max"), -2 / math.sqrt(14 / 3), 3 / math.sqrt(14 / 3)),
        (Standard(eps=0, scale="none"), -2, 3),
        (Standard("batch", "batch", eps=0), -1 / math.sqrt(34 / 7), 2 / math.sqrt(34 / 7)),
    ],
)
def test_advantages_by_hand(by, first, second):
    values = standardise(HAND, by)
    same(values[0, 0], first)
    same(values[1, 3], second)


def test_weights_weigh_advantages_or_rewards():
    # Distances from the mean: -2 -1 0 3 (std sqrt(14/3)) and, of the other, 1 -1 1 -1 (sqrt(4/3)).
    given = {"a": HAND[:1], "b": torch.tensor([[20.0, 0.0, 20.0, 0.0]]) / 10}
    weights = {"a": 0.7, "b": 1.4}
    by = Standard(eps=0)
    summed = combine(given, weights, "advantages", by)
    same(summed.values[0, 0], 0.7 * -2 / math.sqrt(14 / 3) + 1.4 * 1 / math.sqrt(4 / 3))
    same(summed.parts["b"], standardise(given["b"], by))
    raw = combine(given, weights, "raw", by)
    same(raw.values, standardise(0.7 * given["a"] + 1.4 * given["b"], by))
    assert torch.equal(raw.parts["b"], summed.parts["b"])  # logged either way


@pytest.mark.parametrize(
    "call",
    load("flow-factory-grpo", "src/flow_factory/advantage/advantage_processor.py: compute_gdpo"),
)
def test_gdpo_is_flow_factorys(call):
    rewards = {name: torch.tensor(values) for name, values in call.arguments["rewards"].items()}
    by = Standard(unbiased=False, eps=1e-12)  # upstream adds nothing
    found = combine(rewards, call.arguments["weights"], "gdpo", by)
    same(found.values, call.results["advantages"])
    sums = combine(rewards, call.arguments["weights"], "advantages", by)
    assert (found.values - sums.values).abs().max() > 0.1


def test_gdpo_standardises_the_sum_again():
    rewards = {"a": torch.tensor([[1.0, 0, 1, 0]]), "b": torch.tensor([[0.0, 10, 10, 0]])}
    weights = {"a": 1.0, "b": 1.0}
    # Each is +-sqrt(3) / 2, and the std of 0 0 sqrt(3) -sqrt(3) is sqrt(2).
    same(combine(rewards, weights, "advantages", GROUP).values, [[0, 0, 3**0.5, -(3**0.5)]])
    same(combine(rewards, weights, "gdpo", GROUP).values, [[0, 0, 1.5**0.5, -(1.5**0.5)]])


def test_the_unit_of_a_reward_matters_only_raw():
    a, b = numbers(0, 3, 4), numbers(1, 3, 4)
    weights = {"a": 1.0, "b": 1.0}

    def change(how):
        with_unit, without = (
            combine({"a": a, "b": unit * b}, weights, how, Standard()).values for unit in (100, 1)
        )
        return (with_unit - without).abs().max().item()

    assert change("advantages") < 1e-5
    assert change("raw") > 0.1


def test_groups_without_signal_are_told():
    # The second has a sample that is its mean.
    flat = torch.tensor([[0.1, 0.1, 0.1], [1.0, 2.0, 3.0], [0.7, 0.7, 0.7]])
    told = combine({"r": flat}, {"r": 1.0}, "advantages", GROUP)
    assert told.kept.tolist() == [False, True, False]
    # One reward alike, one not: there is a signal.
    both = combine({"r": flat, "q": flat.flip(0, 1)}, {"r": 1.0, "q": 2.0}, "raw", GROUP)
    assert both.kept.tolist() == [False, True, False]
    other = combine({"r": flat, "q": numbers(0, 3, 3)}, {"r": 1.0, "q": 1.0}, "advantages", GROUP)
    assert other.kept.all()
    # DDPO compares prompts: a group of equal rewards is better or worse than the batch.
    batch = combine({"r": flat}, {"r": 1.0}, "raw", Standard("batch", "batch"))
    assert batch.kept.all()


# Properties.


@given(rewards(), standards)
@settings(max_examples=50, deadline=None)
def test_advantages_sum_to_zero(values, by):
    ours = standardise(values, by)
    total = ours.sum() if by.baseline == "batch" else ours.sum(1)
    if by.scale == "group" and by.baseline == "batch":
        return  # a mean of one scope and a std of the other: no such sum
    assert total.abs().max() < 1e-3


@given(rewards(), standards, st.integers(-100, 100))
@settings(max_examples=50, deadline=None)
def test_a_constant_changes_nothing(values, by, constant):
    same(standardise(values + constant, by), standardise(values, by))


@given(rewards(), standards, st.sampled_from([0.125, 0.3, 7.0, 1000.0]))
@settings(max_examples=50, deadline=None)
def test_a_positive_factor_changes_nothing_but_eps(values, by, factor):
    scaled = Standard(by.baseline, by.scale, by.unbiased, eps=by.eps * factor)
    ours = standardise(values.double() * factor, scaled)
    expected = standardise(values, by) * (factor if by.scale == "none" else 1)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@given(
    st.floats(-1e6, 1e6, width=32),
    st.integers(1, 4),
    st.integers(2, 33),
    standards,
    st.sampled_from(["advantages", "raw", "gdpo"]),
)
@settings(max_examples=100, deadline=None)
def test_equal_rewards_have_no_advantage_at_all(value, prompts, group, by, how):
    flat = torch.full((prompts, group), value)
    told = combine({"a": flat, "b": flat / 3}, {"a": 0.7, "b": 1.4}, how, by)
    assert (told.values == 0).all()
    assert not told.kept.any()


@given(rewards(), standards, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_does_not_matter(values, by, random):
    prompts = random.sample(range(values.shape[0]), values.shape[0])
    samples = random.sample(range(values.shape[1]), values.shape[1])
    ours = standardise(values[prompts][:, samples], by)
    same(ours, standardise(values, by)[prompts][:, samples])


@given(rewards())
@settings(max_examples=50, deadline=None)
def test_groups_do_not_see_each_other(values):
    assume(len(values) > 1)
    for index in range(len(values)):
        alone = standardise(values[index : index + 1], GROUP)
        same(standardise(values, GROUP)[index : index + 1], alone)


@given(rewards(), st.data())
@settings(max_examples=50, deadline=None)
def test_selection_keeps_the_extremes(scores, data):
    group = scores.shape[1]
    worst = data.draw(st.integers(0, group))
    best = data.draw(st.integers(0 if worst else 1, group - worst))
    chosen = best_and_worst(scores, best, worst)
    assert chosen.shape == (len(scores), best + worst)
    for row, kept in zip(scores.tolist(), chosen.tolist(), strict=True):
        assert kept == sorted(set(kept))
        ranked = sorted(row)
        expected = ranked[:worst] + ranked[group - best :]
        assert sorted(row[i] for i in kept) == expected


def test_of_equal_scores_the_earlier_is_the_lower():
    assert best_and_worst(torch.zeros(1, 4), best=1, worst=1).tolist() == [[0, 3]]


# What is refused.


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_refused(wrong):
    values = numbers(0, 3, 4)
    values[1, 2] = values[2, 3] = wrong
    with pytest.raises(InputError, match=r"hps is (nan|-?inf) for sample 2 of prompt 1 \(2 of 12"):
        combine({"hps": values}, {"hps": 1.0}, "raw", GROUP)
    with pytest.raises(InputError, match="reward is"):
        standardise(values, GROUP)


@pytest.mark.parametrize("by", [GROUP, Standard(scale="batch"), Standard("batch", "group")])
def test_one_sample_has_nothing_to_be_compared_with(by):
    with pytest.raises(UsageError, match="groups of 1 given"):
        standardise(numbers(0, 3, 1), by)


def test_one_sample_may_be_compared_with_the_batch():
    # Mean 2, distances -1, 1, over sqrt(2 / 1).
    values = standardise(torch.tensor([[1.0], [3.0]]), Standard("batch", "batch", eps=0))
    same(values, [[-1 / math.sqrt(2)], [1 / math.sqrt(2)]])


def test_wrong_requests_are_refused():
    a = numbers(0, 3, 4)
    with pytest.raises(UsageError, match=r"rewards \['a'\] and weights \['b'\] given"):
        combine({"a": a}, {"b": 1.0}, "raw", GROUP)
    with pytest.raises(UsageError, match=r"weights \[\] given"):
        combine({}, {}, "raw", GROUP)
    with pytest.raises(UsageError, match=r"\{'a': \[3, 4\], 'b': \[2, 4\]\} given"):
        combine({"a": a, "b": a[:2]}, {"a": 1.0, "b": 1.0}, "raw", GROUP)
    with pytest.raises(UsageError, match="unknown combination 'sum'"):
        combine({"a": a}, {"a": 1.0}, "sum", GROUP)
    with pytest.raises(UsageError, match=r"reward of shape \[12\] given"):
        standardise(a.flatten(), GROUP)
    for best, worst in [(3, 2), (0, 0), (-1, 2)]:
        with pytest.raises(UsageError, match=f"the best {best} and worst {worst} of 4"):
            best_and_worst(a, best, worst)
