"""One training step: every sample counts once, and what has nothing to say changes nothing."""

import dataclasses
import math

import numpy as np
import pytest
import tiny_policies
import tiny_runs
import torch

from grpo.advantage import Advantages
from grpo.figures import Figures
from grpo.policies import Policy
from grpo.rollout import collect
from rewardkit.media.prompts import PromptLine


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def config(folders, kind="policy-gradient", *, objective=None, **changes):
    tried = tiny_runs.KINDS[kind]
    settings = {**tried.settings, **(objective or {})}
    return tiny_runs.config(folders[tried.folder], objective=settings, **changes)


def drawn(trainer):
    """The rollout of the first step, and advantages of all signs."""
    return drawn_by(trainer, 0), weighed([[1.0, -0.5, -0.5], [0.3, 0.9, -1.2]])


def weighed(values):
    given = torch.tensor(values)
    return Advantages(given, {}, given.any(dim=1))


def copied(trainer):
    return {name: p.detach().clone() for name, p in trainer.policy.parameters().items()}


def unchanged(trainer, before):
    return all(torch.equal(p, before[name]) for name, p in trainer.policy.parameters().items())


# Those whose losses depend on more samples than a batch has are among them.
CUT = [(kind, 2) for kind in (*tiny_runs.OF_LOOP, "centered-reward")]
CUT += [("policy-gradient", 1), ("forward-process", 1), ("group-preference", 1)]


@pytest.mark.parametrize(("kind", "updates"), CUT)
def test_the_gradient_does_not_depend_on_the_batch_size(folders, kind, updates):
    asked = config(
        folders,
        kind,
        objective={"updates": updates, "epochs": 2, **tiny_runs.KINDS[kind].more},
        optim={"lr": 1e-12, "max_grad_norm": 1e6},
        sampler={"batch_size": 6},
    )
    trainer = tiny_runs.trainer(asked)
    rollout, advantages = drawn(trainer)
    found = {}
    for size in (1, 2, 4, 6):  # 4 leaves a remainder
        sampler = asked.sampler.model_copy(update={"batch_size": size})
        trainer.config = asked.model_copy(update={"sampler": sampler})
        seen = found[size] = []
        trainer.optimizer.update = lambda seen=seen: seen.append(taken(trainer)) or {}
        trainer.update(0, rollout, {}, advantages, Figures())
    assert all(len(seen) == 2 * updates for seen in found.values())
    for size in (1, 2, 4):
        for ours, whole in zip(found[size], found[6], strict=True):
            assert whole.abs().max() > 0
            torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-5)


def taken(trainer):
    """The gradient of all weights, which are then without."""
    parameters = trainer.policy.parameters().values()
    gradient = torch.cat([p.grad.flatten().clone() for p in parameters])
    trainer.optimizer.adamw.zero_grad()
    return gradient


@pytest.mark.parametrize("kind", tiny_runs.OF_LOOP)
@pytest.mark.parametrize("updates", [1, 4])
def test_every_pass_takes_each_sample_once(folders, kind, updates):
    asked = config(folders, kind, objective={"updates": updates, "epochs": 2})
    trainer, passes = tiny_runs.trainer(asked), {}
    real, steps = trainer.objective.terms, []
    trainer.optimizer.adamw.register_step_post_hook(lambda *given: steps.append(0))

    def terms(samples, keys):
        passes.setdefault(keys[-1], []).extend(samples.rows.tolist())
        yield from real(samples, keys)

    trainer.objective.terms = terms
    trainer.step(0)
    assert [sorted(rows) for rows in passes.values()] == [list(range(6))] * 2
    assert len(steps) == 2 * updates
    assert trainer.objective.updates == 2 * updates


def test_drift_is_measured_on_the_batches_of_the_updates(folders):
    trainer, taken = tiny_runs.trainer(config(folders, objective={"updates": 2, "epochs": 2})), []
    anchor, terms = trainer.objective.before_updates, trainer.objective.terms
    measured, replayed = [], trainer.objective._replayed_log_probs

    def watched(probes, batches):
        measured.extend(batch.rows.tolist() for batch in batches())
        return anchor(probes, batches)

    def trained(samples, keys):
        taken.append(samples.rows.tolist())
        return terms(samples, keys)

    sizes = []
    trainer.objective._replayed_log_probs = lambda batch: (
        sizes.append(len(batch.rows)) or replayed(batch)
    )
    trainer.objective.before_updates, trainer.objective.terms = watched, trained
    values = trainer.step(0).values
    order = [row for rows in measured for row in rows]
    assert measured == taken[: len(taken) // 2] and order != sorted(order)
    # In float32 too, one batch of each size.
    assert sizes == [3] and {"drift/step_0", "drift/step_1"} <= values.keys()


@pytest.mark.parametrize("kind", ["dpok", "distillation"])
def test_every_ratio_is_1_before_the_first_update_whatever_sampling_rounds(
    folders, kind, monkeypatch
):
    def rounded(*arguments):
        rollout = collect(*arguments)
        rollout.transitions.log_prob.add_(0.5)
        return rollout

    monkeypatch.setattr("grpo.trainer.collect", rounded)
    values = tiny_runs.trainer(config(folders, kind, objective={"updates": 1})).step(0).values
    assert values["log_probs_recomputed"] == 1
    assert values["drift/step_0"] == pytest.approx(0.5, abs=1e-4)
    assert values["ratio"] == pytest.approx(1, abs=1e-5) and values["clip_fraction"] == 0


@pytest.mark.parametrize("kind", [k for k in tiny_runs.OF_LOOP if k != "reward-gradient"])
def test_equal_rewards_are_counted_and_change_nothing(folders, kind, tmp_path):
    judge = tmp_path / "judge.py"
    judge.write_text("def score(batch):\n    return [0.1] * len(batch.media)\n")
    trainer = tiny_runs.trainer(config(folders, kind, top={"reward": f"{judge}:score"}))
    before = copied(trainer)
    values = trainer.step(0).values
    assert unchanged(trainer, before)
    assert values["groups_dropped"] == 2 and "grad_norm" not in values
    assert values[f"reward/{judge}:score"] == pytest.approx(0.1)
    assert values[f"reward_std/{judge}:score"] == 0


def test_a_group_of_equal_rewards_is_left_out(folders):
    trainer = tiny_runs.trainer(config(folders))
    rows = trainer.select(weighed([[0.0, 0.0, 0.0], [1.0, -2.0, 1.0]]))
    assert rows.tolist() == [3, 4, 5]
    figures = Figures()
    scores = {"sharpness": torch.tensor([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])}
    figures.scored(scores, trainer.objective.credit(drawn_by(trainer, 0), scores))
    # Means of 2, 2, 2 and 1, 2, 3; their unbiased stds are 0 and 1.
    assert figures.values == {
        "reward/sharpness": 2.0, "reward_std/sharpness": 0.5, "groups_dropped": 1.0,
    }  # fmt: skip


def test_best_of_n_takes_the_top_and_the_bottom_of_each_group(folders):
    asked = config(folders, sampler={"group_size": 5}, advantage={"best": 3})
    trainer = tiny_runs.trainer(asked)
    rows = trainer.select(
        weighed([[0.5, 2.0, -1.0, 1.0, -2.5], [0.0] * 5, [3.0, -1.0, -2.0, 0.5, -0.5]])
    )
    # Two best and one worst: 2.0, 1.0, -2.5 of the first, none of the second, 3.0, 0.5, -2.0.
    assert rows.tolist() == [1, 3, 4, 10, 12, 13]


def test_a_sample_may_have_an_advantage_for_each_step(folders):
    asked = config(folders, sampler={"group_size": 3}, advantage={"best": 2})
    trainer = tiny_runs.trainer(asked)
    # Means over two steps: 1, 0 and -1 of the first group; 0, 3 and 1 of the second.
    by_step = [[[2.0, 0.0], [5.0, -5.0], [-3.0, 1.0]], [[1.0, -1.0], [2.0, 4.0], [0.0, 2.0]]]
    advantages = Advantages(torch.tensor(by_step), {}, torch.ones(2).bool())
    assert trainer.select(advantages).tolist() == [0, 2, 3, 4]
    given = {}

    def watched(samples, keys):
        given.update(zip(samples.rows.tolist(), samples.advantage.tolist(), strict=True))
        return iter(())

    trainer.objective.terms = watched
    trainer.update(0, drawn_by(trainer, 0), {}, advantages, Figures())
    assert given == {0: [2.0, 0.0], 2: [-3.0, 1.0], 3: [1.0, -1.0], 4: [2.0, 4.0]}


def test_an_objective_is_shown_the_samples_before_it_gives_credit(folders):
    trainer, seen = tiny_runs.trainer(config(folders)), []
    credit = trainer.objective.credit

    def watched(rollout, scores):
        seen.append((rollout, scores, copied(trainer)))
        return credit(rollout, scores)

    trainer.objective.credit, before = watched, copied(trainer)
    trainer.step(0)
    ((rollout, scores, weights),) = seen
    assert [line.prompt for line in rollout.lines] == [x.prompt for x in trainer.choose(0)]
    assert all(torch.equal(before[name], value) for name, value in weights.items())
    # In the order of the scores: sample s of prompt p is row p G + s.
    assert torch.equal(rollout.grouped(rollout.owner), torch.tensor([[0] * 3, [1] * 3]))
    again = trainer.rewards(rollout.media, rollout.lines, 3)["sharpness"]
    assert torch.equal(again, scores["sharpness"])
    assert rollout.grouped(rollout.clean).shape == (2, 3, *rollout.clean.shape[1:])


def test_the_old_policy_moves_once_per_rollout_and_draws(folders):
    asked = config(folders, "forward-process", objective={"decay_slope": 0.1, "decay_cap": 0.9})
    trainer = tiny_runs.trainer(asked)
    policy, updates = trainer.policy, 0
    for index in range(2):
        old = {name: value.clone() for name, value in policy.banks["old"].values.items()}
        with policy.using("old"):
            latents = drawn_by(trainer, index)
        seen = {}
        real = trainer.rewards
        trainer.rewards = keep(real, seen)
        trainer.step(index)
        trainer.rewards = real
        torch.testing.assert_close(seen["media"], latents.media)
        updates += 2
        decay = 0.1 * updates  # below the cap: 0.2, then 0.4
        for name, parameter in policy.parameters().items():
            expected = decay * old[name] + (1 - decay) * parameter.detach()
            values = policy.banks["old"].values[name]
            torch.testing.assert_close(values, expected, rtol=0, atol=1e-6)
    kept = policy.banks["old"].values
    assert any(not torch.equal(value, policy.parameters()[n]) for n, value in kept.items())
    # Another old policy draws others.
    policy.banks["old"].restore({name: value + 0.3 for name, value in kept.items()})
    here = drawn_by(trainer, 0)
    with trainer.objective.behaviour():
        there = drawn_by(trainer, 0)
    assert not torch.equal(here.clean, there.clean)


def drawn_by(trainer, index):
    """The rollout of a step by the weights in force."""
    lines = trainer.choose(index)
    plan = trainer.objective.plan(len(lines), np.random.default_rng(0))
    keys = (trainer.config.seed, index)
    return collect(trainer.policy, trainer.sampler, lines, trainer.config.sampler, plan, keys)


def keep(rewards, seen):
    """Rewards that remember the pictures."""

    class Kept:
        weights, device = rewards.weights, rewards.device

        def __call__(self, media, lines, group, shares):
            seen["media"] = media
            return rewards(media, lines, group, shares)

    return Kept()


def test_prompts_are_all_asked_before_one_is_again(folders):
    trainer = tiny_runs.trainer(config(folders))
    trainer.prompts = [PromptLine("", str(i)) for i in range(5)]
    asked = [line.prompt for step in range(10) for line in trainer.choose(step)]
    turns = [tuple(asked[i : i + 5]) for i in range(0, 20, 5)]
    assert all(sorted(turn) == list("01234") for turn in turns)
    assert len(set(turns)) > 1


def test_a_step_depends_on_the_state_and_its_number_alone(folders):
    first, second = (tiny_runs.trainer(config(folders)) for _ in range(2))
    first.step(0), first.step(1)
    torch.rand(3)
    second.step(0)
    third = tiny_runs.trainer(config(folders))
    third.restore(second.state())
    third.step(1)
    assert unchanged(third, copied(first))


def test_averaged_weights_are_in_force_where_the_policy_is_shown(folders):
    trainer = tiny_runs.trainer(config(folders, policy={"ema": 0.75}, objective={"updates": 1}))
    before = copied(trainer)
    trainer.step(0)
    policy: Policy = trainer.policy
    after = copied(trainer)
    with trainer.averaged():
        for name, shown in policy.parameters().items():
            expected = 0.75 * before[name] + 0.25 * after[name]
            torch.testing.assert_close(shown.detach(), expected, rtol=1e-6, atol=1e-6)
    assert unchanged(trainer, after)
    plain = tiny_runs.trainer(config(folders))
    before = copied(plain)
    with plain.averaged():
        assert unchanged(plain, before)


def test_the_average_warms_up_over_the_updates_of_the_run(folders):
    changes = {"policy": {"ema": 0.9, "ema_warmup": 1.0}}
    trainer = tiny_runs.trainer(config(folders, **changes))
    real, moved, expected = trainer.optimizer.update, [], copied(trainer)

    def apply():
        norms = real()
        moved.append(copied(trainer))
        return norms

    trainer.optimizer.update = apply
    trainer.step(0)
    again = tiny_runs.trainer(config(folders, **changes))  # goes on from what a checkpoint holds
    again.restore(trainer.state())
    trainer, real = again, again.optimizer.update
    trainer.optimizer.update = apply
    trainer.step(1)
    # By hand: after s updates (1 + s) / (10 + s), 2/11, 3/12, 4/13 and 5/14, below 0.9.
    for decay, after in zip((2 / 11, 3 / 12, 4 / 13, 5 / 14), moved, strict=True):
        for name, value in after.items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in trainer.policy.banks["average"].values.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("counted", [False, True])
def test_groups_of_equal_rewards_count_in_the_mean_if_they_are_to(folders, counted):
    asked = config(
        folders,
        advantage={"count_flat": counted},
        optim={"lr": 1e-12, "max_grad_norm": 1e6},
        objective={"updates": 1},
    )
    trainer, seen = tiny_runs.trainer(asked), []
    rollout = drawn_by(trainer, 0)
    trainer.optimizer.update = lambda: seen.append(taken(trainer)) or {}
    rewards = [[1.0, -0.5, -0.5], [0.0, 0.0, 0.0]]
    figures = Figures()
    trainer.update(0, rollout, {}, weighed(rewards), figures)
    # The same gradient by the formula, over all 6 samples or over the 3 of the first group.
    rows = torch.arange(3)
    samples = trainer.samples(rollout, rows, {}, torch.tensor(rewards[0]))
    for term in trainer.objective.terms(samples, ()):
        (term.loss * term.share * (0.5 if counted else 1)).backward()
    torch.testing.assert_close(seen[0], taken(trainer), rtol=1e-5, atol=1e-7)


def test_an_update_that_overflows_float16_is_left_out_and_counted(folders):
    trainer = tiny_runs.trainer(tiny_runs.config(folders["sd"], policy={"dtype": "float16"}))
    before = {name: p.detach().clone() for name, p in trainer.policy.parameters().items()}
    trainer.optimizer.scaler.load_state_dict(
        {**trainer.optimizer.scaler.state_dict(), "scale": 2.0**100}
    )
    values = trainer.step(0).values
    assert values["updates_skipped"] > 0 and "grad_norm" not in values
    assert all(torch.equal(p, before[n]) for n, p in trainer.policy.parameters().items())
    # Halved at each, the scale comes down to one that fits, and the weights move.
    trainer.optimizer.scaler.load_state_dict(
        {**trainer.optimizer.scaler.state_dict(), "scale": 2.0**10}
    )
    values = trainer.step(1).values
    assert values["updates_skipped"] == 0 and values["grad_norm"] > 0
    assert any(not torch.equal(p, before[n]) for n, p in trainer.policy.parameters().items())
    assert trainer.state()["scaler"]["scale"] == 2.0**10


def test_an_update_that_overflows_is_left_out_of_the_log_too(folders, monkeypatch):
    trainer = tiny_runs.trainer(config(folders, policy={"dtype": "float16"}))
    real = trainer.objective.terms

    def overflowing(samples, keys):
        for term in real(samples, keys):
            yield dataclasses.replace(term, loss=term.loss * float("inf"))

    monkeypatch.setattr(trainer.objective, "terms", overflowing)
    values = trainer.step(0).values
    assert values["updates_skipped"] == 2
    assert "loss" not in values
    assert all(math.isfinite(value) for value in values.values())
