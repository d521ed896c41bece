"""What objectives of the forward process share: noise, and copies that follow the policy."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from grpo.config.fields import Config
from grpo.objectives.noising import Noised, NoisingConfig, noised_steps
from grpo.objectives.objective import Objective, Samples

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from grpo.policies.policy import Policy
    from grpo.rewards import Rewards
    from grpo.rollout import Plan
    from grpo.sampler import Sampler

NoisingT = TypeVar("NoisingT", bound=NoisingConfig)


class Following(Objective[NoisingT], ABC):
    """An objective of the forward process, with the copies of the policy that its settings name."""

    def __init__(self, policy: Policy, sampler: Sampler, config: Config, rewards: Rewards) -> None:
        super().__init__(policy, sampler, config, rewards)
        for name in self.settings.followers(0):
            policy.keep(name)
        if self.settings.reads_start:
            policy.keep("start")

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """The sampler's own steps, none of them stored."""
        from grpo.rollout import Plan

        return Plan.of_clean(self.sampler, groups)

    def noised(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Noised]:
        """The samples at each of their timesteps; see `noised_steps`."""
        return noised_steps(samples, self.sampler, self.settings, keys)

    def output(self, samples: Samples, noised: Noised) -> Tensor:
        """What the network puts out there under the weights in force."""
        return self.policy.predict(noised.x, noised.timesteps, samples.condition)

    def output_of(self, name: str, samples: Samples, noised: Noised) -> Tensor:
        """What it puts out under a copy of the weights, without a gradient."""
        with self.policy.using(name):
            return self.output(samples, noised)

    def measured(
        self,
        batches: Iterable[Samples],
        keys: tuple[int, ...],
        measure: Callable[[Samples, Noised], tuple[Tensor, ...]],
    ) -> dict[int, Tensor]:
        """Numbers of all samples of an update, whichever process has them.

        Args:
            batches: those of this process.
            keys: those of `Objective.terms`.
            measure: gives M numbers of each sample at one of its timesteps, M tensors [n]; it is
                called without a gradient.

        Returns:
            The numbers of each sample by its row in the rollout, [K, M] on the CPU, in the order of
            the rows: the same on every process.
        """
        import torch

        found: dict[int, Tensor] = {}
        with torch.no_grad():
            for samples in batches:
                values = [
                    torch.stack(measure(samples, noised), 1)
                    for noised in self.noised(samples, keys)
                ]
                numbers = torch.stack(values, 1).cpu()
                found |= zip(samples.rows.tolist(), numbers, strict=True)
        everywhere = {row: n for part in self.policy.world.gather(found) for row, n in part.items()}
        return dict(sorted(everywhere.items()))

    def after_updates(self, updates: int) -> None:
        """Each copy follows: `copy <- d copy + (1 - d) policy`."""
        super().after_updates(updates)
        for name, decay in self.settings.followers(self.updates).items():
            self.policy.banks[name].follow(decay)

    def state(self) -> dict[str, Any]:
        """The state, with the weights of the copies."""
        copies = {name: self.policy.banks[name].values for name in self.settings.followers(0)}
        return {**super().state(), **copies}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The state, with the weights of the copies."""
        super().restore(state)
        for name in self.settings.followers(0):
            self.policy.banks[name].restore(state[name])
