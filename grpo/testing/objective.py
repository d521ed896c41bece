"""The contract of `Objective`, checked on any kind.

An objective is tried in training steps on a tiny pipeline of a real class with random weights,
saved as a folder, in float32. With pytest:

    @pytest.mark.parametrize("parameters", ["lora", "full"])
    def test_my_objective(parameters, tmp_path):
        config = Config.model_validate({
            "model": "path/of/the/tiny/pipeline", "reward": "sharpness", "prompts": "shapes:train",
            "steps": 2, "method": "none",
            "sampler": {"rule": "flow", "noise_level": 0.7, "steps": 3, "prompts_per_step": 2,
                        "group_size": 3, "batch_size": 4},
            "objective": {"kind": "mine", "updates": 2},
            "policy": {"parameters": parameters, "rank": 2, "alpha": 6},
            "optim": {"lr": 1e-3},
        })
        check_objective(config, tmp_path)

Each check can be called alone, on a trainer that has made no step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grpo import checkpoint, policies
from grpo.advantage import Advantages
from grpo.config.counts import counts
from grpo.config.fields import Config
from grpo.config.settings import fields
from grpo.objectives.objective import Samples, Term
from grpo.policies.condition import Condition
from grpo.rewards import Rewards
from grpo.rollout import Rollout
from grpo.trainer import Trainer
from rewardkit.media.prompts import read


def check_objective(config: Config, folder: Path) -> None:
    """All checks.

    Args:
        config: two training steps or more, under settings that use all of the objective: a batch
            size that leaves a remainder, several updates, each penalty. Rewards differ in a group.
        folder: an empty one, for a checkpoint.

    Raises:
        AssertionError: naming what the objective does not keep.
        InputError: a checkpoint does not fit the state it is restored into.
    """
    check_settings(config)
    trainer = begin(config)
    check_plan(trainer)
    check_copies(trainer)
    check_step(trainer)
    check_resume(config, folder)


def begin(config: Config) -> Trainer:
    """A trainer at the start of a run, on the CPU."""
    policy = policies.of(policies.load(config), config)
    rewards = Rewards(config.reward, "cpu", config.scoring)
    return Trainer(config, policy, rewards, read(config.prompts))


def check_settings(config: Config) -> None:
    """Settings are described, and those that have no effect are settings that there are."""
    known = fields(config.objective.kind)
    vague = [name for name, info in known.items() if not info.description]
    assert not vague, f"settings without a sentence under them: {vague}"
    unknown = config.objective.unread(config).keys() - known.keys()
    assert not unknown, f"unread() names {sorted(unknown)}; there are no such settings"


def check_plan(trainer: Trainer) -> None:
    """A plan follows from its random numbers, fits the sampler, and stores what is counted."""
    sampler, config = trainer.sampler, trainer.config
    groups, size = config.sampler.prompts_per_step, config.sampler.group_size
    plan, again = (trainer.objective.plan(groups, np.random.default_rng(7)) for _ in range(2))
    assert plan.stochastic == again.stochastic and torch.equal(plan.kept, again.kept), (
        "two plans differ that were made with the same rng: draw random numbers from it alone"
    )
    random = set(sampler.stochastic_steps())
    assert plan.stochastic <= random, (
        f"steps {sorted(plan.stochastic - random)} are planned to be random, and the sampler's "
        f"random steps are {sorted(random)}"
    )
    kept, stored = plan.kept, config.objective.steps_stored(config.sampler)
    shapes = [[groups, stored], [groups * size, stored]]
    assert [*kept.shape] in shapes, (
        f"the plan's `kept` has the shape {[*kept.shape]}; by steps_stored it is {shapes[0]}, or "
        f"{shapes[1]} for each sample"
    )
    assert kept.dtype == torch.int64 and kept.device.type == "cpu", "`kept` is not int64 on the CPU"
    assert (kept.diff() > 0).all(), "`kept` does not rise along a row"
    assert ((kept >= 0) & (kept < sampler.steps)).all(), f"`kept` is not below {sampler.steps}"


def check_copies(trainer: Trainer) -> None:
    """As many copies of the weights are kept as are counted."""
    policy, banks = trainer.policy, sorted(trainer.policy.banks.keys() - {"average"})
    counted = trainer.config.objective.copies(policy.adapted)
    assert len(banks) == counted, f"copies() is {counted}, and the copies kept are {banks}"


def check_step(trainer: Trainer) -> None:
    """A training step moves what is to be trained and nothing else, at the cost that is counted."""
    objective, config = trainer.objective, trainer.config
    modules = dict(objective.modules())
    assert all(objective.modules()[name] is module for name, module in modules.items()), (
        "modules() gives other modules in a second call"
    )
    own = {id(p) for module in modules.values() for p in module.parameters()}
    for name, value in vars(objective).items():
        found = [*value.parameters()] if isinstance(value, nn.Module) else []
        assert not [p for p in found if p.requires_grad and id(p) not in own], (
            f"`{name}` has parameters that nothing trains: return it by modules(), or call its "
            "requires_grad_(False)"
        )

    tensors = _tensors(trainer)
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    with _watched(trainer) as seen:
        values = trainer.step(0).values
    assert values["groups_dropped"] == 0, "rewards of a group are equal: take another reward"
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    assert not wrong, f"figures that are not finite: {wrong}"

    moved = {name for name, tensor in tensors.items() if not torch.equal(tensor, before[name])}
    trained = {id(p) for p in trainer.policy.parameters().values()}
    may_move = {name for name, tensor in tensors.items() if id(tensor) in trained}
    assert moved & may_move, "no weight of the policy has moved"
    for module in modules:
        its_own = {name for name in tensors if name.startswith(f"modules/{module}/")}
        assert moved & its_own, f"the module {module!r} has not moved: no term depends on it"
        may_move |= its_own
    frozen = sorted(moved - may_move)
    assert not frozen, f"weights that are not trained have moved: {frozen[:5]}"

    made = counts(config)["updates_per_step"]
    assert objective.updates == made, f"{objective.updates} updates, and {made} are counted"
    counted = config.objective.steps_trained(config.sampler)
    assert seen["predicted"] == counted * seen["trained"], (
        f"steps_trained() is {counted}, and terms() has made {seen['predicted']} predictions with "
        f"a gradient for {seen['trained']} samples"
    )


def check_resume(config: Config, folder: Path) -> None:
    """A run that is interrupted after a step and resumed equals one that is not, bit for bit."""
    assert config.steps > 1, "one training step is too few: give config two"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        whole = begin(config)
        start = _flat(whole.state())
        torch.manual_seed(2)
        resumed = begin(config)
    whole.step(0)
    path = checkpoint.save(folder, 1, whole.state(), keep=1)
    _same(start, _flat(resumed.state()), "two runs of one seed begin differently, in")
    state = checkpoint.load(path)
    checkpoint.check(path, state, resumed.state())
    resumed.restore(state)
    left, taken = _flat(whole.objective.state()), _flat(resumed.objective.state())
    _same(left, taken, "state() and restore() lose")
    claim = "a resumed run differs from one that was not interrupted, in"
    for index in range(1, config.steps):
        figures, again = (trainer.step(index).values for trainer in (whole, resumed))
        _same(_flat(figures), _flat(again), claim)
    _same(_flat(whole.state()), _flat(resumed.state()), claim)


@contextmanager
def _watched(trainer: Trainer) -> Iterator[dict[str, int]]:
    """Checks credit and terms as they are made; counts samples trained, and their predictions."""
    objective: Any = trainer.objective
    policy: Any = trainer.policy
    real = {"credit": objective.credit, "terms": objective.terms}
    predict, seen = policy.predict, {"trained": 0, "predicted": 0}

    def credit(rollout: Rollout, scores: Mapping[str, Tensor]) -> Advantages:
        seen_by_credit = rollout if objective.credit_reads_samples else _without_samples(rollout)
        found: Advantages = real["credit"](seen_by_credit, scores)
        shape, stored = [*next(iter(scores.values())).shape], rollout.transitions.index.shape[1]
        assert [*found.values.shape] in (shape, [*shape, stored]), (
            f"advantages have the shape {[*found.values.shape]}; they are {shape}, or "
            f"{[*shape, stored]} for each stored step"
        )
        assert found.values.dtype == torch.float32, "advantages are not float32"
        assert found.values.isfinite().all(), (
            "an advantage is not finite"
            if objective.credit_reads_samples
            else "an advantage is not finite where credit() has scores alone: if it reads samples, "
            "set credit_reads_samples to True"
        )
        assert not found.values.requires_grad, "advantages have a graph: compute them without one"
        return found

    def terms(samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        seen["trained"] += len(samples.rows)
        shares = 0.0
        for term in real["terms"](samples, keys):
            assert term.loss.ndim == 0, "a term's loss is not a scalar"
            with_graph = [name for name, value in term.figures.items() if value.requires_grad]
            assert not with_graph, f"figures with a graph: {with_graph}; detach them"
            shares += term.share
            yield term
        assert math.isclose(shares, 1), f"the shares of a batch's terms add up to {shares}, not 1"

    def counted(x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        seen["predicted"] += len(x) * torch.is_grad_enabled()
        output: Tensor = predict(x, timesteps, condition)
        return output

    objective.credit, objective.terms, policy.predict = credit, terms, counted
    try:
        yield seen
    finally:
        del objective.credit, objective.terms, policy.predict


def _without_samples(rollout: Rollout) -> Rollout:
    """A rollout as a process sees it that holds none of its samples."""
    steps = rollout.transitions
    unknown = replace(
        steps,
        states=torch.full_like(steps.states, torch.nan),
        log_prob=torch.full_like(steps.log_prob, torch.nan),
    )
    clean = torch.full_like(rollout.clean, torch.nan)
    return replace(rollout, media=[None] * len(rollout.media), clean=clean, transitions=unknown)


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Every weight of the pipeline and of the objective's modules."""
    pipe: Any = trainer.policy.pipeline.diffusers
    parts = {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}
    parts |= {f"modules/{name}": module for name, module in trainer.modules.items()}
    return {
        f"{part}/{name}": tensor
        for part, module in parts.items()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """The tensors, numbers and texts of nested dictionaries and lists, by the way to them."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {name: value.clone() if isinstance(value, Tensor) else value}
    return {
        path: leaf
        for key, inner in value.items()
        for path, leaf in _flat(inner, f"{name}/{key}" if name else str(key)).items()
    }


def _same(first: Mapping[str, Any], second: Mapping[str, Any], claim: str) -> None:
    def equal(name: str) -> bool:
        a, b = first.get(name), second.get(name)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.equal(a, b)
        return name in first and name in second and bool(a == b)

    different = sorted(name for name in first.keys() | second.keys() if not equal(name))
    assert not different, f"{claim} {', '.join(different[:5])}"
