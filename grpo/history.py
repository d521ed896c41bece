"""Rewards of earlier training steps, by prompt: DDPO's baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass
class History:
    """The newest rewards of each prompt.

    Attributes:
        size: how many are kept for each prompt.
        least: how many a prompt needs; one with fewer is compared with the batch.
        rewards: by the name of the reward, then by prompt, oldest first.
    """

    size: int
    least: int
    rewards: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def restore(self, rewards: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
        """Takes the rewards of a checkpoint."""
        self.rewards = {
            name: {prompt: [*values] for prompt, values in prompts.items()}
            for name, prompts in rewards.items()
        }


@final
@dataclass(frozen=True)
class Recent:
    """Standardises rewards by the history of their prompts, which they first become a part of.

    Attributes:
        history: of the run.
        prompts: P, those of the rewards; a prompt may occur more than once.
        unbiased: as in `grpo.advantage.Standard`.
        eps: as there; 1e-6 in DDPO.
    """

    history: History
    prompts: Sequence[str]
    unbiased: bool
    eps: float

    def of(self, name: str, rewards: Tensor) -> Tensor:
        """(r - mean) / (std + eps) of a reward, [P, G]; call it once per training step.

        Source: kvablack/ddpo-pytorch ddpo_pytorch/stat_tracking.py: PerPromptStatTracker.update.
        """
        past = self.history.rewards.setdefault(name, {})
        standardised = rewards.new_zeros(rewards.shape)
        for prompt in dict.fromkeys(self.prompts):
            rows = [row for row, other in enumerate(self.prompts) if other == prompt]
            known = [*past.get(prompt, ()), *rewards[rows].flatten().tolist()]
            past[prompt] = known[-self.history.size :]
            enough = len(past[prompt]) >= self.history.least
            others = rewards.new_tensor(past[prompt]) if enough else rewards
            if others.amax() > others.amin():  # of equal rewards none has an advantage
                std = others.std(correction=int(self.unbiased))
                standardised[rows] = (rewards[rows] - others.mean()) / (std + self.eps)
        return standardised
