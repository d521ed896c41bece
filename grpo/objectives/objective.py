"""The base class of objectives: the part of a training step that belongs to a method.

The trainer knows no method. In each training step it calls an objective in this order:

    plan            before sampling: which steps draw noise, and which are stored
    behaviour       the weights that draw the samples
    credit          once samples are scored: their advantages
    before_updates  what has to be measured or computed before weights move
    survey          before each update: what its losses have to know of all its samples
    terms           for each batch of each update: its losses
    after_updates   once all updates of the rollout are made

`state` and `restore` let a run resume; `modules` are networks that are trained beside the policy.
`grpo.testing.check_objective` checks what is promised here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from grpo.config.fields import Config, ObjectiveConfig
from grpo.history import History, Recent

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from grpo.advantage import Advantages
    from grpo.policies.condition import Condition
    from grpo.policies.policy import Policy
    from grpo.rewards import Rewards
    from grpo.rollout import Plan, Rollout
    from grpo.sampler import Sampler

SettingsT = TypeVar("SettingsT", bound=ObjectiveConfig)


@dataclass(frozen=True)
class Samples:
    """A batch of n samples of a rollout; tensors are on the policy's device.

    Attributes:
        rollout: all samples; it stays on the CPU.
        rows: [n] int64 on the CPU, the places of these samples among the rollout's N.
        condition: the embeddings of their prompts, for `Policy.predict`.
        scores: each reward's scores, [n] float32, by name; before its weight.
        advantage: [n] float32; [n, K] where each of the K stored steps has its own.
    """

    rollout: Rollout
    rows: Tensor
    condition: Condition
    scores: Mapping[str, Tensor]
    advantage: Tensor

    @property
    def clean(self) -> Tensor:
        """Their clean latents, [n, ...] float32."""
        from rewardkit.devices import sent

        return sent(self.rollout.clean[self.rows], self.advantage.device)

    def advantage_at(self, k: int) -> Tensor:
        """The advantages at the k-th stored step of each sample, [n]."""
        return self.advantage if self.advantage.ndim == 1 else self.advantage[:, k]


@dataclass(frozen=True)
class Term:
    """A part of the loss of a batch that is differentiated by itself, such as that of one step.

    The loss of the batch is the sum of share * loss over its terms.

    Attributes:
        loss: mean over the samples of the batch, a scalar.
        share: 1 / K for each of K terms that count alike; all shares of a batch add up to 1. It
            knows nothing of the size of a batch, which the trainer weighs.
        figures: scalars to log, without a gradient; their means are weighted like the losses.
    """

    loss: Tensor
    share: float
    figures: dict[str, Tensor]

    @classmethod
    def of(cls, result: object, share: float) -> Term:
        """The result of a function of `grpo.loss`: its `loss`, and all other fields as figures."""
        figures = dict(vars(result))
        return cls(figures.pop("loss"), share, figures)

    def penalised(self, name: str, penalty: Tensor, weight: float) -> Term:
        """The term with weight * penalty in its loss, and the penalty among its figures."""
        figures = {**self.figures, name: penalty.detach()}
        return Term(self.loss + weight * penalty, self.share, figures)


class Objective(ABC, Generic[SettingsT]):
    """A method's own part of a training step.

    Args:
        policy: the networks in training. `keep` copies its weights, `using` predicts with a copy.
        sampler: the denoising steps that samples are drawn with.
        config: the run.
        rewards: the rewards of the run, with the weight of each.

    Attributes:
        settings: the table [objective] of the run, a `config_class`.
        updates: number of updates that the run has made.
        step: the training step, counted from 0; the trainer sets it before `plan`.
        reward_history: rewards of earlier steps, empty unless advantage.baseline is history.
    """

    #: The class of the table [objective].
    config_class: ClassVar[type[ObjectiveConfig]]
    #: What updates hold in memory and `grpo.memory` does not count: name -> a clause about it.
    uncounted: ClassVar[Mapping[str, str]] = {}
    #: Whether `credit` reads media, latents or log-probabilities of the samples. Of several
    #: processes each has those of its own samples alone, and they are sent to all only if this is
    #: True. Scores, prompts and conditions of all samples are on every process in any case.
    credit_reads_samples: ClassVar[bool] = False

    def __init__(self, policy: Policy, sampler: Sampler, config: Config, rewards: Rewards) -> None:
        self.policy, self.sampler, self.config, self.rewards = policy, sampler, config, rewards
        self.settings = cast("SettingsT", config.objective)
        self.updates = self.step = 0
        self.reward_history = History(config.advantage.history, config.advantage.history_min)

    @abstractmethod
    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """Which steps of the coming rollout draw noise, and which are stored for `terms`.

        Args:
            groups: P, the number of prompts.
            rng: the source of all random choices of the plan; it depends on seed and step alone.
        """

    def credit(self, rollout: Rollout, scores: Mapping[str, Tensor]) -> Advantages:
        """What each sample is worth; here, its scores beside those of its group or its batch.

        It is called once per rollout, before any update, with the trained weights in force. A
        baseline that needs networks computes it in batches of `sampler.batch_size`, without a
        gradient, and returns to groups by `rollout.grouped`.

        Args:
            rollout: the samples, their prompts and their stored steps; if `credit_reads_samples` is
                False, do not read `media`, `clean`, or `states` and `log_prob` of `transitions`.
            scores: [P, G] of each reward by name, before its weight.
        """
        from grpo.advantage import Standard, Standardiser, combine

        how = self.config.advantage
        by: Standardiser
        if how.baseline == "history":
            prompts = [line.prompt for line in rollout.lines]
            by = Recent(self.reward_history, prompts, how.unbiased, how.eps)
        else:
            by = Standard(how.baseline, how.scale, how.unbiased, how.eps)
        return combine(scores, self.rewards.weights, how.combine, by)

    @abstractmethod
    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """The losses of one batch, one at a time, so that only one graph is in memory.

        Args:
            samples: the batch.
            keys: address of the random numbers of this pass over the rollout. Draw those of the
                sample in row r from `rewardkit.generators.noise.generator(*keys, r)`, so that they
                do not depend on the batch.
        """

    def modules(self) -> Mapping[str, nn.Module]:
        """Networks of the objective's own, by name, which are trained and saved with the policy.

        They are made once, in `__init__`, on the policy's device, with random weights that depend
        on `config.seed` alone.
        """
        return {}

    def teachers(self) -> Mapping[str, Mapping[str, Any]]:
        """What the policy learns from in place of the rewards, by name; here, nothing.

        The RunCard names them: the `source` and `sha256` of each, and what it was `trained_on`.
        """
        return {}

    def learning_rate(self) -> float:
        """Highest learning rate of `modules`; it rises and falls as the policy's does."""
        return self.config.optim.lr

    def behaviour(self) -> AbstractContextManager[Any]:
        """A context in which the policy has the weights that draw samples; here, the trained."""
        return nullcontext()

    def before_updates(
        self, probes: Iterable[Samples], batches: Callable[[], Iterable[Samples]]
    ) -> dict[str, float]:
        """Called before a rollout's first update.

        Args:
            probes: one batch of each size that the first pass has; every process gets all of them.
            batches: gives the batches of the first pass, as often as it is called; of several
                processes each gets its own. What depends on them differs between processes.

        Returns:
            Figures to log.
        """
        return {}

    def survey(self, batches: Iterable[Samples], keys: tuple[int, ...]) -> None:
        """Called before each update, for losses that depend on more samples than their batch has.

        Args:
            batches: those of the update, made one by one as they are read; of several processes
                each gets its own.
            keys: those that `terms` is called with.
        """

    def after_updates(self, updates: int) -> None:
        """Called after the last update on a rollout, with the number of updates made on it."""
        self.updates += updates

    def state(self) -> dict[str, Any]:
        """What `restore` needs, except for the weights of the policy and of `modules`.

        It consists of tensors, numbers and texts in dictionaries and lists. When a run resumes, the
        names, shapes and types of the saved state must be those of a new run's; only a dictionary
        or a list that is empty in a new run, such as a history, may have grown.
        """
        if self.config.advantage.baseline != "history":
            return {"updates": self.updates}
        return {"updates": self.updates, "reward_history": self.reward_history.rewards}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state` returned in the run that is resumed."""
        self.updates = state["updates"]
        if self.config.advantage.baseline == "history":
            self.reward_history.restore(state["reward_history"])
