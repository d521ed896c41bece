"""DPOK: a policy gradient with a value network, and a penalty to the initial model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, final

from pydantic import Field

from grpo.config.fields import CREDIT, Config, ObjectiveConfig
from grpo.config.sampler import SamplerConfig
from grpo.objectives.objective import Objective, Samples, Term
from grpo.objectives.transitions import (
    check_log_probs,
    random_share,
    replay,
    replayed_log_probs,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from grpo.advantage import Advantages
    from grpo.policies.policy import Policy
    from grpo.rewards import Rewards
    from grpo.rollout import Plan, Rollout
    from grpo.sampler import Sampler
    from rewardkit.media.task import Task


@final
class DpokConfig(ObjectiveConfig):
    """DPOK: a policy gradient whose baseline is a value network."""

    clip_range: float = Field(default=1e-4, gt=0, lt=1)
    """Range of the ratio around 1, outside of which a sample has no gradient."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the random steps to train on, drawn for each sample."""
    reward_weight: float = Field(default=100.0, gt=0, le=1e6)
    """Weight of the expected reward beside the penalty."""
    kl: float = Field(default=0.01, gt=0, le=1000)
    """Weight of the penalty to the initial model."""
    value_lr: float = Field(default=1e-4, gt=0, le=1)
    """Learning rate of the value network."""

    def check(self, config: Config) -> None:
        """Refuse a sampler without noise; a sample is compared with no other, so G may be 1."""
        if config.sampler.deterministic or config.sampler.stochastic == "window":
            raise ValueError(
                "objective.kind dpok trains on steps that draw noise, out of all of them. Set "
                "sampler.stochastic to all, and use a rule with a noise_level above 0"
            )
        if config.advantage.best is not None:
            raise ValueError(
                "advantage.best chooses samples of a group by their advantages, and objective.kind "
                "dpok compares no samples of a group. Set it to none"
            )

    def check_task(self, task: Task) -> None:
        """Refuse models that start from a picture: the value network is made without one."""
        from rewardkit.errors import UsageError
        from rewardkit.media.task import starts_from_picture

        if starts_from_picture(task):
            raise UsageError(
                f"objective.kind dpok does not train {task} models: its value network reads "
                "prompts without a picture. Use a model that starts from text alone, or another "
                "method, such as flow-grpo"
            )

    def unread(self, config: Config) -> dict[str, str]:
        """What advantages of groups would read."""
        names = (*CREDIT, "advantage.clamp", "advantage.count_flat")
        return dict.fromkeys(names, "objective.kind is dpok, whose advantages are a network's")

    def steps_trained(self, sampler: SamplerConfig) -> int:
        """A share of the random steps; the last step of cps draws no noise."""
        return max(1, int((sampler.steps - (sampler.rule == "cps")) * self.fraction))

    def steps_stored(self, sampler: SamplerConfig) -> int:
        """The number of steps that are trained on."""
        return self.steps_trained(sampler)

    def copies(self, adapted: bool) -> int:
        """The initial model, unless a LoRA is trained on top of it."""
        return int(not adapted)

    def pull(self, config: SamplerConfig, sampler: Sampler) -> dict[int, float]:
        """Of all random steps."""
        factors = sampler.gradient_factors("gaussian")
        return {step: float(factors[step]) for step in sampler.stochastic_steps()}


@final
class Dpok(Objective[DpokConfig]):
    """DPOK: the advantage of a step is what its value network did not expect there.

    Upstream keeps the transitions of earlier rollouts, and draws from them; here each rollout
    trains the policy and the value network once, and is gone.
    """

    config_class = DpokConfig

    def __init__(self, policy: Policy, sampler: Sampler, config: Config, rewards: Rewards) -> None:
        import torch

        from grpo.value import ValueNetwork
        from rewardkit.media.prompts import PromptLine

        super().__init__(policy, sampler, config, rewards)
        policy.keep("start")
        latents = policy.noise([torch.Generator()]).numel()
        prompts = policy.encode([PromptLine("", "")]).pooled().shape[1]
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.value = ValueNetwork(latents + prompts, sampler.steps).to(policy.device)

    def modules(self) -> Mapping[str, nn.Module]:
        """The value network."""
        return {"value": self.value}

    def learning_rate(self) -> float:
        """That of the value network."""
        return self.settings.value_lr

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """All steps draw noise; each sample stores a random share of them."""
        from grpo.rollout import Plan

        random = self.sampler.stochastic_steps()
        number = self.settings.steps_trained(self.config.sampler)
        draws = groups * self.config.sampler.group_size
        return Plan(frozenset(random), random_share(rng, random, number, draws))

    def credit(self, rollout: Rollout, scores: Mapping[str, Tensor]) -> Advantages:
        """The weighted sum of the rewards, from which `terms` subtracts the value of a step."""
        import torch

        from grpo.advantage import Advantages

        parts = {name: values.float() for name, values in scores.items()}
        weighted = [self.rewards.weights[name] * values for name, values in parts.items()]
        values = torch.stack(weighted).sum(0)
        return Advantages(values, parts, torch.ones(len(values), dtype=torch.bool))

    def before_updates(
        self, probes: Iterable[Samples], batches: Callable[[], Iterable[Samples]]
    ) -> dict[str, float]:
        """The drift of log-probabilities, see `check_log_probs`."""
        replayed = partial(replayed_log_probs, self.policy, self.sampler)
        return check_log_probs(
            self.policy.world, probes, batches, replayed, self.settings.clip_range
        )

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per stored transition, of the policy and of the value network."""
        from grpo.loss import kl_v
        from grpo.surrogates import boxed_surrogate
        from rewardkit.devices import sent

        past, settings, device = samples.rollout.transitions, self.settings, self.policy.device
        number, reward, prompts = past.index.shape[1], samples.advantage, samples.condition.pooled()
        for k in range(number):
            x, _ = past.step(samples.rows, k, device)
            value = self.value(x, prompts, sent(past.index[samples.rows, k], device))
            with self.policy.using("start"):
                start = replay(self.policy, self.sampler, samples, k)
            new = replay(self.policy, self.sampler, samples, k)
            loss = boxed_surrogate(
                new.log_prob,
                sent(past.log_prob[samples.rows, k], device),
                reward - value.detach(),
                clip_range=settings.clip_range,
                scale=settings.reward_weight,
            )
            term = Term.of(loss, 1 / number)
            term = term.penalised("kl", kl_v(new.output, start.output), settings.kl)
            yield term.penalised("value_error", (value - reward).square().mean(), 1.0)
