"""The gradient of the reward through its network, VAE and last steps: DRaFT, AlignProp, ReFL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import Field

from grpo.config.fields import CREDIT, Config, ObjectiveConfig
from grpo.config.sampler import SamplerConfig
from grpo.objectives.objective import Objective, Samples, Term

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from grpo.advantage import Advantages
    from grpo.rollout import Plan, Rollout
    from rewardkit.engine.spec import RewardSpec


@final
class RewardGradientConfig(ObjectiveConfig):
    """The reward is differentiated through its network, the VAE and the last denoising steps.

    Two things on the way have no gradient and are passed straight through: the rounding of pixels
    to 8 bits, and that of PIL's resize.
    """

    last: int = Field(default=1, ge=1, le=1000)
    """Number of last steps that can get a gradient."""
    truncation: Literal["fixed", "uniform", "single"] = "fixed"
    """Steps with a gradient: all of these, a random number of them, or one without later ones."""

    def check(self, config: Config) -> None:
        """Refuse more steps than are sampled. Samples are not compared: one per prompt will do."""
        if self.last > config.sampler.steps:
            raise ValueError(
                f"objective.last is {self.last}; it is at most sampler.steps, "
                f"{config.sampler.steps}"
            )
        if config.sampler.stochastic == "window":
            raise ValueError(
                "sampler.stochastic is window, and objective.kind reward-gradient takes its steps "
                "as the sampler's rule does. Set it to all"
            )
        if config.advantage.best is not None:
            raise ValueError(
                "advantage.best chooses samples of a group by their advantages, and objective.kind "
                "reward-gradient compares no samples of a group. Set it to none"
            )

    def check_rewards(self, rewards: RewardSpec) -> None:
        """Refuse a reward that has no gradient."""
        from rewardkit.engine.differentiable import check_differentiable

        check_differentiable(rewards)

    def unread(self, config: Config) -> dict[str, str]:
        """The settings of advantages."""
        reason = "objective.kind is reward-gradient, which has no advantages"
        found = dict.fromkeys((*CREDIT, "advantage.clamp", "advantage.count_flat"), reason)
        if self.last == 1:
            found["objective.truncation"] = "objective.last is 1, so only one step can be taken"
        return found

    def steps_trained(self, sampler: SamplerConfig) -> int:
        """The largest number of steps with a gradient."""
        return 1 if self.truncation == "single" else self.last

    def steps_stored(self, sampler: SamplerConfig) -> int:
        """The step that the gradient ends at."""
        return 1


@final
class RewardGradient(Objective[RewardGradientConfig]):
    """Minus the reward, as a differentiable function of the weights.

    L = - mean sum_j w_j r_j(pixels(x0)). A rollout stores the state that the last K steps begin
    with. They are taken again from there, with a gradient, and with new noise where they draw any;
    x0 is what the last of them predicts. "fixed" is DRaFT-K; "uniform" draws K for each training
    step, as AlignProp does; "single" takes one step, drawn for each prompt, and scores the x0 that
    it predicts, as ReFL does.

    Source: Clark et al. 2023, https://arxiv.org/abs/2309.17400; Prabhudesai et al. 2023,
    https://arxiv.org/abs/2310.03739, and mihirp1998/AlignProp alignprop_trainer.py; Xu et al. 2023,
    https://arxiv.org/abs/2304.05977, algorithm 1.
    """

    config_class = RewardGradientConfig
    uncounted: ClassVar[Mapping[str, str]] = {
        "activations of the VAE, the rewards and further steps": "which the update differentiates"
    }

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """The sampler's own steps; where the gradient begins is stored."""
        import torch

        from grpo.rollout import Plan

        steps, last, truncation = self.sampler.steps, self.settings.last, self.settings.truncation
        if truncation == "single":
            first = torch.from_numpy(rng.integers(steps - last, steps, size=groups))
        else:
            number = int(rng.integers(1, last + 1)) if truncation == "uniform" else last
            first = torch.full((groups,), steps - number)
        return Plan(frozenset(self.sampler.stochastic_steps()), first[:, None])

    def credit(self, rollout: Rollout, scores: Mapping[str, Tensor]) -> Advantages:
        """No sample is compared with another: the weighted sum of rewards, and every group."""
        import torch

        from grpo.advantage import Advantages

        total = torch.stack([self.rewards.weights[name] * r for name, r in scores.items()]).sum(0)
        return Advantages(total.float(), {}, torch.ones(len(total), dtype=torch.bool))

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One: rewards, VAE and all its steps are one graph."""
        import torch

        rollout, weights = samples.rollout, self.rewards.weights
        lines = [rollout.lines[owner] for owner in rollout.owner[samples.rows].tolist()]
        # The gradient is computed before the next term is asked for, and needs these networks.
        with self.policy.offloaded(), self.rewards.on_device():
            pixels = self.policy.pixels(self._clean(samples, keys))
            scores = self.rewards.differentiable(pixels, lines)
            means = {name: r.mean().to(pixels.device) for name, r in scores.items()}
            loss = -torch.stack([weights[name] * mean for name, mean in means.items()]).sum()
            figures = {f"gradient_reward/{name}": mean.detach() for name, mean in means.items()}
            yield Term(loss, 1.0, figures)

    def _clean(self, samples: Samples, keys: tuple[int, ...]) -> Tensor:
        """The clean samples that the steps with a gradient lead to, [n, ...]."""
        import torch

        from rewardkit.devices import sent
        from rewardkit.generators.noise import generator

        past, device = samples.rollout.transitions, self.policy.device
        x, _ = past.step(samples.rows, 0, device)
        index = past.index[samples.rows, 0]
        number = 1 if self.settings.truncation == "single" else self.sampler.steps - int(index[0])
        sources = [generator(*keys, row) for row in samples.rows.tolist()]
        for place in range(number):
            now = sent(index + place, device)
            output = self.policy.predict(x, self.sampler.timesteps[now], samples.condition)
            step = self.sampler.step(output, x, now)
            noise = torch.stack([torch.randn(x.shape[1:], generator=g) for g in sources])
            x = step.draw(sent(noise, device))
        return step.x0
