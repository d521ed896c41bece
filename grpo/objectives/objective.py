"""What a method keeps of a rollout, the credit it gives to samples, its state and its loss.

The trainer knows no method: it asks an objective for a plan before sampling, for the credit of the
samples once they are scored, gives it batches of them, and tells it when weights have moved.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from grpo.config.fields import Config, ObjectiveConfig

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from grpo.advantage import Advantages
    from grpo.policies.condition import Condition
    from grpo.policies.policy import Policy
    from grpo.rollout import Plan, Rollout
    from grpo.sampler import Sampler

SettingsT = TypeVar("SettingsT", bound=ObjectiveConfig)


@dataclass(frozen=True)
class Samples:
    """A batch of the samples of a rollout, on the policy's device, and what they are worth.

    Attributes:
        rollout: where they are from; it stays on the CPU.
        rows: [n] int64 on the CPU, which of its N samples these are.
        condition: what they were made from.
        scores: [n] float32 of each reward, by name.
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
        policy: what is trained.
        sampler: the steps it draws samples by.
        config: the run; `settings` is its table [objective].
        weights: of the rewards, by name.

    Attributes:
        updates: how many updates the run has made.
    """

    #: The table [objective] of its kind.
    config_class: ClassVar[type[ObjectiveConfig]]

    def __init__(
        self, policy: Policy, sampler: Sampler, config: Config, weights: Mapping[str, float]
    ) -> None:
        self.policy, self.sampler, self.config, self.weights = policy, sampler, config, weights
        self.settings = cast("SettingsT", config.objective)
        self.updates = 0

    @abstractmethod
    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """Which steps of the coming rollout are random, and which of them are stored."""

    def credit(self, rollout: Rollout, scores: Mapping[str, Tensor]) -> Advantages:
        """What each sample is worth; here, its scores beside those of its group or its batch.

        It is called once per rollout, before any update, with the trained weights in force. A
        baseline that needs networks computes it in batches of `sampler.batch_size`, without a
        gradient, and returns to groups by `rollout.grouped`.

        Args:
            rollout: the samples, their prompts and their stored steps.
            scores: [P, G] of each reward by name, before its weight.
        """
        from grpo.advantage import Standard, combine

        how = self.config.advantage
        by = Standard(how.baseline, how.scale, how.unbiased, how.eps)
        return combine(scores, self.weights, how.combine, by)

    @abstractmethod
    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """The losses of one batch, one at a time, so that only one graph is alive.

        Args:
            samples: the batch.
            keys: what random numbers begin with that belong to this pass: add the sample's row.
        """

    def modules(self) -> Mapping[str, nn.Module]:
        """Its own modules, by name; the trainer optimizes and saves them with the policy.

        They are on the policy's device, and the same in every call.
        """
        return {}

    def learning_rate(self) -> float:
        """The highest learning rate of `modules`, which falls as the policy's does."""
        return self.config.optim.lr

    def behaviour(self) -> AbstractContextManager[Any]:
        """A context with the weights that draw a rollout, if they are not the trained ones."""
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

    def after_updates(self, updates: int) -> None:
        """Called when a rollout has been trained on, with the number of updates that took."""
        self.updates += updates

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the weights of the policy and of `modules`.

        Tensors, numbers and texts, in dictionaries and lists. A checkpoint is refused whose names,
        shapes or types differ from those of the state at the start; a dictionary or a list that is
        empty then may have grown.
        """
        return {"updates": self.updates}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`."""
        self.updates = state["updates"]
