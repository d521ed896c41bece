"""What an objective plans, and what it says before anything has moved."""

import numpy as np
import pytest
import tiny_policies
import tiny_runs
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo import objectives
from grpo.objectives.objective import Samples
from grpo.objectives.policy_gradient import PolicyGradientConfig
from grpo.rewards import Rewards
from grpo.rollout import collect
from grpo.testing import check_objective

FAMILIES = ["sd", "sd3"]
SLIDING = {"window_within": 2, "window_every": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(scope="module")
def flow(folders):
    return tiny_policies.policy(folders["sd3"])


# A kind that has no row in tiny_runs.KINDS fails here alone.
CONTRACTS = [
    pytest.param(kind, parameters, marks=() if quick else pytest.mark.slow)
    for kind in objectives.KINDS
    for parameters in ("lora", "full")
    if parameters == "lora" or not tiny_runs.KINDS[kind].teachers
    for quick in [parameters == "lora" or kind in tiny_runs.OF_LOOP]
]


@pytest.mark.parametrize(("kind", "parameters"), CONTRACTS)
def test_the_contract_of_an_objective_is_kept(folders, kind, parameters, tmp_path):
    tried = tiny_runs.KINDS[kind]
    run = tiny_runs.config(
        folders[tried.folder],
        objective=tried.settings | tried.more,
        policy={"parameters": parameters},
        top={"steps": 2},
    )
    check_objective(run, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "settings", "more"),
    [
        ("sd3", {"surrogate": "guard", "weight": "size", "kl": 0.1}, {}),
        ("sd", {"surrogate": "divergence", "divergence": 1e-9, "weight": "gradient"}, {}),
        ("sd", {"drop_last": False}, {"advantage": {"baseline": "history", "history_min": 4}}),
        ("sd3", {}, {"sampler": {"stochastic": "window", "window_size": 1} | SLIDING}),
    ],
    ids=["guard", "divergence", "history", "sliding"],
)
def test_the_contract_is_kept_under_other_settings(folders, folder, settings, more, tmp_path):
    run = tiny_runs.config(
        folders[folder], objective=tiny_runs.GRADIENT | settings, top={"steps": 2}, **more
    )
    check_objective(run, tmp_path)


def plans(folders, flow, *, seed=0, step=0, settings=None, **sampler):
    run_config = tiny_runs.config(
        folders["sd3"], objective={**tiny_runs.GRADIENT, **(settings or {})}, sampler=sampler
    )
    kind = objectives.find(run_config.objective.kind)
    made = kind(
        flow, flow.schedule(run_config.sampler), run_config, Rewards(run_config.reward, "cpu")
    )
    made.step = step
    return made.plan(2, np.random.default_rng(seed))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 4), more=st.integers(0, 3))
def test_a_window_is_inside_its_bounds(folders, flow, seed, size, more):
    within = min(size + more, 7)
    plan = plans(
        folders,
        flow,
        seed=seed,
        steps=8,
        stochastic="window",
        window_size=size,
        window_within=within,
    )
    begin = min(plan.stochastic)
    assert plan.stochastic == set(range(begin, begin + size))
    assert max(plan.stochastic) < within
    assert plan.kept.tolist() == [sorted(plan.stochastic)] * 2


def test_a_window_lies_anywhere_in_its_bounds(folders, flow):
    window = {"steps": 8, "stochastic": "window", "window_size": 2, "window_within": 4}
    begun = {min(plans(folders, flow, seed=seed, **window).stochastic) for seed in range(40)}
    assert begun == {0, 1, 2}


def test_a_sliding_window_moves_with_the_training_step(folders, flow):
    window = {"steps": 8, "stochastic": "window", "window_size": 3, "window_within": 6}
    begun = [
        min(plans(folders, flow, seed=step % 3, step=step, window_every=2, **window).stochastic)
        for step in range(10)
    ]
    assert begun == [0, 0, 1, 1, 2, 2, 3, 3, 0, 0]
    last = plans(folders, flow, step=7, window_every=2, **window)
    assert last.stochastic == {3, 4, 5} and last.kept.tolist() == [[3, 4, 5]] * 2
    window = {"stochastic": "window", "window_size": 1} | SLIDING
    trainer = tiny_runs.trainer(tiny_runs.config(folders["sd3"], sampler=window))
    trained = [name for i in (0, 1, 2) for name in trainer.step(i).values if "drift/" in name]
    assert trained == ["drift/step_0", "drift/step_1", "drift/step_0"]


@pytest.mark.parametrize(
    ("changes", "number", "last"),
    # 8 steps, all of which draw noise in `flow`.
    [
        ({"fraction": 1.0}, 7, 6),
        ({"fraction": 0.6}, 4, 6),  # 0.6 of 7 is 4.2
        ({"fraction": 0.01}, 1, 6),
        ({"fraction": 1.0, "drop_last": False}, 8, 7),
    ],
)
def test_a_share_of_the_steps_is_trained_on_another_in_each_group(
    folders, flow, changes, number, last
):
    seen = [plans(folders, flow, seed=seed, settings=changes, steps=8) for seed in range(30)]
    kept = torch.stack([plan.kept for plan in seen])
    assert kept.shape == (30, 2, number)
    assert (kept.diff() > 0).all() and kept.max() == last and kept.min() == 0
    assert {plan.stochastic for plan in seen} == {frozenset(range(8))}
    if number in (1, 4):
        assert any(plan.kept[0].tolist() != plan.kept[1].tolist() for plan in seen)


def test_a_share_may_be_drawn_for_each_sample(folders, flow):
    by_sample = {"fraction": 0.6, "subset": "sample"}
    kept = plans(folders, flow, settings=by_sample, steps=8, group_size=5).kept
    assert kept.shape == (2 * 5, 4)
    assert (kept.diff() > 0).all() and kept.max() <= 6
    assert len(kept[:5].unique(dim=0)) > 1  # of one prompt
    # Over many samples every step is taken as often as any other: 4 of 7 times.
    many = plans(folders, flow, settings=by_sample, steps=8, group_size=2000).kept
    shares = torch.bincount(many.flatten(), minlength=7) / len(many)
    assert (shares - 4 / 7).abs().max() < 0.04


@pytest.mark.parametrize("kl", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["bare", "gaussian"])
def test_the_gradient_of_a_bare_log_probability_is_flow_cps(folders, kind, kl):
    run_config = tiny_runs.config(
        folders["sd3"],
        sampler={"rule": "cps", "batch_size": 6},
        objective={**tiny_runs.GRADIENT, "updates": 1, "clip_range": 0.5, "kl": kl}
        | {"log_prob": kind},
    )
    trainer = tiny_runs.trainer(run_config)
    with torch.no_grad():
        for parameter in trainer.policy.parameters().values():
            parameter.add_(0.1)  # away from the reference, which a KL needs
    policy, lines = trainer.policy, trainer.choose(0)
    plan = trainer.objective.plan(2, np.random.default_rng(0))
    rollout = collect(policy, trainer.sampler, lines, run_config.sampler, plan, (0, 0))
    policy.keep("drew")
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.mul_(1.01)  # so that the ratios are not 1
    rows, advantage = torch.arange(6), torch.tensor([1.0, -1.0, 0.5, 2.0, -2.0, 0.1])
    samples = Samples(rollout, rows, rollout.condition_of(rows), {}, advantage)
    weights = list(policy.parameters().values())

    def gradient(losses):
        parts = torch.autograd.grad(losses, weights)
        return torch.cat([part.flatten() for part in parts])

    ours = gradient(sum(term.loss * term.share for term in trainer.objective.terms(samples, ())))

    # IamCreateAI/FlowCPS scripts/train_sd3.py, and its sde_step_with_logprob.
    past, losses = rollout.transitions, []
    for k in range(2):
        timesteps = trainer.sampler.timesteps[past.index[:, k]]
        sigma, then = (
            trainer.sampler.sigmas[past.index[:, k] + i].view(6, 1, 1, 1) for i in (0, 1)
        )

        def mean(x=past.x[:, k], timesteps=timesteps, sigma=sigma, then=then):
            v = policy.predict(x, timesteps, samples.condition)
            x0, x1 = x - sigma * v, x + (1 - sigma) * v
            return (1 - then) * x0 + then * np.cos(0.7 * np.pi / 2) * x1

        def log_prob(mean, x_next=past.x_next[:, k]):
            return -(x_next - mean).square().mean((1, 2, 3))

        now = mean()
        with policy.using("drew"):
            old = log_prob(mean())
        with policy.using("start"):
            reference = mean()
        ratio = (log_prob(now) - old).exp()
        loss = -(advantage * ratio).mean()  # far inside the clip range
        losses.append(loss + kl * (now - reference).square().mean())
    theirs = gradient(sum(losses) / 2)
    gap = torch.dist(ours, theirs) / torch.dist(theirs, torch.zeros_like(theirs))
    assert gap < 1e-3 if kind == "bare" else gap > 0.05


def test_a_policy_gradient_takes_an_advantage_for_each_step(folders):
    run_config = tiny_runs.config(folders["sd3"], objective=tiny_runs.GRADIENT)
    trainer = tiny_runs.trainer(run_config)
    plan = trainer.objective.plan(2, np.random.default_rng(0))
    lines = trainer.choose(0)
    rollout = collect(trainer.policy, trainer.sampler, lines, run_config.sampler, plan, (0, 0))
    advantage = torch.tensor([[1.0, -3.0], [2.0, 0.5]])

    def losses(values):
        samples = trainer.samples(rollout, torch.tensor([4, 1]), {}, values)
        return [float(term.loss.detach()) for term in trainer.objective.terms(samples, ())]

    # The ratio is 1, so that the loss of a step is minus the mean of its advantages.
    assert losses(advantage) == pytest.approx([-1.5, 1.25], abs=1e-4)
    assert losses(advantage[:, 0]) == pytest.approx([-1.5, -1.5], abs=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_before_the_first_update_every_ratio_is_one(folders, name, guidance):
    # 6 samples in batches of 4: they are replayed in other batches than they were drawn in.
    run_config = tiny_runs.config(
        folders[name],
        sampler={"guidance": guidance},
        objective={**tiny_runs.GRADIENT, "updates": 1},
    )
    values = tiny_runs.trainer(run_config).step(0).values
    assert values["clip_fraction"] == 0
    assert values["approx_kl"] < 1e-12
    assert values["ratio"] == pytest.approx(1, abs=1e-6)
    drift = [value for key, value in values.items() if key.startswith("drift/")]
    assert len(drift) == 2 and max(drift) < 1e-5 and "log_probs_recomputed" not in values


@pytest.mark.parametrize("surrogate", ["guard", "divergence"])
def test_steps_are_compared_with_those_of_the_policy_that_drew(folders, surrogate):
    objective = {**tiny_runs.GRADIENT, "surrogate": surrogate, "updates": 2, "epochs": 2}
    run_config = tiny_runs.config(folders["sd3"], objective=objective, optim={"lr": 1e-2})
    trainer, means = tiny_runs.trainer(run_config), []
    real, weights = trainer.objective._surrogate, trainer.policy.parameters()
    before = {name: p.detach().clone() for name, p in weights.items()}

    def record(samples, k, new, drew):
        now = {name: p.data for name, p in weights.items()}
        with torch.no_grad():
            for name, p in weights.items():
                p.data = before[name]
            first = trainer.objective._replay(samples, k)
            for name, p in weights.items():
                p.data = now[name]
        assert torch.equal(first.step.mean, drew.step.mean)
        means.append(float((new.step.mean.detach() - drew.step.mean).abs().max()))
        return real(samples, k, new, drew)

    trainer.objective._surrogate = record
    for index in range(2):
        means.clear()
        before = {name: p.detach().clone() for name, p in weights.items()}
        values = trainer.step(index).values
        assert means[0] == 0 and means[-1] > 1e-4  # both in the first update, and after it
        assert "log_probs_recomputed" not in values
    assert values["ratio"] != 1


@pytest.mark.parametrize("surrogate", ["guard", "divergence"])
def test_nothing_is_replayed_for_a_single_update(folders, surrogate, monkeypatch):
    objective = {**tiny_runs.GRADIENT, "surrogate": surrogate, "updates": 1, "epochs": 1}
    run_config = tiny_runs.config(folders["sd3"], objective=objective)

    def trained():
        trainer = tiny_runs.trainer(run_config)
        values = trainer.step(0).values
        return values, dict(tiny_runs.flat(trainer.state(), "")), "drew" in trainer.policy.banks

    assert run_config.objective.copies(adapted=True) == 0
    values, state, kept = trained()
    monkeypatch.setattr(PolicyGradientConfig, "replays", property(lambda self: True))
    replayed = trained()
    assert (kept, replayed[2]) == (False, True)
    assert values["ratio"] == 1 and values == replayed[0]
    assert tiny_runs.same(state, replayed[1])


def test_the_weight_of_a_step_is_that_of_its_number(folders):
    config = tiny_runs.config(folders["sd3"], objective={**tiny_runs.GRADIENT, "weight": "size"})
    trainer = tiny_runs.trainer(config)
    plan = trainer.objective.plan(2, np.random.default_rng(0))
    lines = trainer.choose(0)
    rollout = collect(trainer.policy, trainer.sampler, lines, config.sampler, plan, (0, 0))
    samples = trainer.samples(rollout, torch.tensor([4, 1]), {}, torch.tensor([1.0, 2.0]))
    losses = [float(term.loss.detach()) for term in trainer.objective.terms(samples, ())]
    sizes = -trainer.sampler.sigmas.diff()  # ratios are 1: minus the mean advantage, over D
    assert losses == pytest.approx([float(-1.5 / sizes[k]) for k in (0, 1)], rel=1e-4)


@pytest.mark.parametrize(("clip_range", "again"), [(1e-9, True), (0.9, False)])
def test_in_low_precision_drift_is_measured_and_mended_where_it_would_clip(
    folders, clip_range, again
):
    run_config = tiny_runs.config(
        folders["sd"],
        policy={"dtype": "bfloat16"},
        objective={**tiny_runs.GRADIENT, "updates": 1, "clip_range": clip_range},
        sampler={"batch_size": 6},
    )
    trainer = tiny_runs.trainer(run_config)
    real, seen = trainer.objective.before_updates, {}

    def anchor(probes, batches):
        (batch,) = batches()
        past = batch.rollout.transitions
        past.log_prob.add_(0.01)  # a rollout whose rounding was this much off
        figures = real(probes, batches)
        seen["after"] = past.log_prob.clone()
        seen["replayed"] = trainer.objective._replayed_log_probs(batch)[batch.rows.argsort()]
        return figures

    trainer.objective.before_updates = anchor
    values = trainer.step(0).values
    assert {key for key in values if key.startswith("drift/")} == {"drift/step_0", "drift/step_1"}
    assert values["drift/step_0"] == pytest.approx(0.01, rel=0.1)
    assert ("log_probs_recomputed" in values) == again
    drift = (seen["replayed"] - seen["after"]).abs().max()
    assert drift == 0 if again else drift > 0.005


@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize(
    "settings",
    [
        {**tiny_runs.GRADIENT, "kl_space": "x"},
        {**tiny_runs.GRADIENT, "kl_space": "v"},
        tiny_runs.FORWARD,
        {**tiny_runs.FORWARD, "beta": 0.5},
    ],
)
def test_the_penalty_is_nothing_at_the_start_and_something_later(folders, settings, parameters):
    run_config = tiny_runs.config(
        folders["sd"],
        objective={**settings, "updates": 1, "kl": 0.1},
        policy={"parameters": parameters},
        optim={"lr": 1e-2},
    )
    trainer = tiny_runs.trainer(run_config)
    first = trainer.step(0).values
    assert first["kl"] < 1e-12 and first.get("deviation", 0) == 0
    assert trainer.step(1).values["kl"] > 1e-9


def test_the_forward_process_trains_at_distinct_steps_that_belong_to_the_samples(folders):
    run_config = tiny_runs.config(
        folders["sd3"], objective=tiny_runs.FORWARD, sampler={"batch_size": 6}
    )
    trainer, noisings = tiny_runs.trainer(run_config), []
    noised = trainer.sampler.noised

    def record(x0, noise, index):
        noisings.append((index.tolist(), noise))
        return noised(x0, noise, index)

    object.__setattr__(trainer.sampler, "noised", record)
    rows = {}
    real = trainer.objective.terms

    def terms(samples, keys):
        start = len(noisings)
        yield from real(samples, keys)
        for place, row in enumerate(samples.rows.tolist()):
            assert row not in rows
            rows[row] = [(index[place], noise[place]) for index, noise in noisings[start:]]

    trainer.objective.terms = terms
    trainer.step(0)
    assert sorted(rows) == list(range(6))
    for pairs in rows.values():
        assert len({index for index, _ in pairs}) == 2  # of 3 steps, each at most once
    first = {row: pairs for row, pairs in rows.items()}
    again = tiny_runs.trainer(
        run_config.model_copy(
            update={"sampler": run_config.sampler.model_copy(update={"batch_size": 1})}
        )
    )
    noisings.clear(), rows.clear()
    object.__setattr__(again.sampler, "noised", record)
    trainer, real = again, again.objective.terms
    again.objective.terms = terms
    again.step(0)
    for row, pairs in first.items():
        for (index, noise), (index_again, noise_again) in zip(pairs, rows[row], strict=True):
            assert index == index_again and torch.equal(noise, noise_again)
