"""On-policy distillation: a student's own steps are led to those of several teachers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final

from pydantic import Field

from grpo.config.fields import CREDIT, Config, ObjectiveConfig
from grpo.config.sampler import SamplerConfig
from grpo.objectives.objective import Objective, Samples, Term
from grpo.objectives.transitions import check_log_probs, replay, replayed_log_probs
from rewardkit.errors import InputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from grpo.advantage import Advantages
    from grpo.policies.policy import Policy
    from grpo.rewards import Rewards
    from grpo.rollout import Plan, Rollout
    from grpo.sampler import Sampler
    from rewardkit.media.prompts import PromptLine


@final
class DistillationConfig(ObjectiveConfig):
    """On-policy distillation of LoRAs, each of which teaches its share of the prompts."""

    teachers: dict[str, str] = Field(min_length=1)
    """LoRAs to learn from, NAME = PATH: folders of runs, or files or folders of LoRAs."""
    teacher_key: str = Field(default="tag", min_length=1)
    """Key of a prompt's line that names its teacher; a single teacher has all prompts."""
    form: Literal["direct", "advantage"] = "direct"
    """Minimise the KL to the teacher, or Flow-OPD's surrogate, whose advantage is minus the KL."""
    clip_range: float = Field(default=1e-4, gt=0, lt=1)
    """Clip range of the ratio around 1, of the form advantage."""
    drop_last: bool = True
    """Leave the last step out of training."""
    kl: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the KL penalty to the initial model."""

    def check(self, config: Config) -> None:
        """Refuse what has no LoRA, no random steps, or a choice of samples by their advantages."""
        sampler = config.sampler
        if config.policy.parameters != "lora":
            raise ValueError(
                "objective.teachers are LoRAs, and policy.parameters is full. Set it to lora"
            )
        if sampler.deterministic or sampler.stochastic == "window":
            raise ValueError(
                f"sampler.rule is {sampler.rule} with noise_level {sampler.noise_level:g} and "
                f"stochastic={sampler.stochastic}; distillation compares the random steps of a "
                "student with its teacher's. Use a noise_level above 0 and stochastic=all"
            )
        if self.steps_trained(sampler) < 1:
            raise ValueError(
                "sampler.steps is 1 and the last step is left out, so none is trained on. Use "
                "more steps"
            )
        if config.advantage.best is not None:
            raise ValueError(
                "advantage.best chooses samples by their advantages, and a teacher teaches all of "
                "them. Set it to none"
            )

    def check_lines(self, lines: Sequence[PromptLine]) -> None:
        """Refuse a prompt without a teacher."""
        for line in lines:
            self.teacher_of(line)

    def check_files(self) -> None:
        """Refuse a teacher that is neither a path on this machine nor a name on the hub."""
        from rewardkit.generators.lora_hub import on_hub

        for name, lora in self.teachers.items():
            if not Path(lora).exists() and not on_hub(lora):
                raise UsageError(
                    f"objective.teachers: there is no LoRA of the teacher {name} at {lora}. Give a "
                    "run's folder, a LoRA's file or folder, or owner/name on the hub"
                )

    def teacher_of(self, line: PromptLine) -> str:
        """The name of a prompt's teacher.

        Raises:
            InputError: its line names none of several.
        """
        if len(self.teachers) == 1:
            return next(iter(self.teachers))
        name = line.meta.get(self.teacher_key)
        if not isinstance(name, str) or name not in self.teachers:
            said = f"{self.teacher_key} is {name!r}" if name is not None else "it has no such key"
            raise InputError(
                f"{line.where}: {self.teacher_key} names the teacher of a prompt, and {said}; the "
                f"teachers are {', '.join(self.teachers)}. Set objective.teacher_key to the key "
                "that names them"
            )
        return name

    def unread(self, config: Config) -> dict[str, str]:
        """All of the advantages but their limit, and what a form does not read."""
        reason = "the advantage of a step is what its teacher says"
        found = dict.fromkeys((*CREDIT, "advantage.count_flat"), reason)
        if self.form == "direct":
            direct = "objective.form is direct, which has no ratio and no advantage"
            found |= dict.fromkeys(("objective.clip_range", "advantage.clamp"), direct)
        if len(self.teachers) == 1:
            found["objective.teacher_key"] = "a single teacher has all prompts"
        if config.sampler.rule == "cps":
            found["objective.drop_last"] = (
                "the last step of sampler.rule cps draws no noise, so it is always left out"
            )
        return found

    def steps_trained(self, sampler: SamplerConfig) -> int:
        """All random steps; the last step of cps draws no noise."""
        return sampler.steps - (self.drop_last or sampler.rule == "cps")

    def steps_stored(self, sampler: SamplerConfig) -> int:
        """The number of steps that are trained on."""
        return self.steps_trained(sampler)

    def copies(self, adapted: bool) -> int:
        """The teachers."""
        return len(self.teachers)

    def anchored(self, absolute: Callable[[str], str]) -> Self:
        """The settings with absolute paths of the teachers."""
        paths = {name: absolute(path) for name, path in self.teachers.items()}
        return self.model_copy(update={"teachers": paths})


@final
class Distillation(Objective[DistillationConfig]):
    """Steps that the student takes are compared with those of each prompt's teacher.

    Rewards are only watched. Teachers are copies of the weights, read from their files when a run
    begins and when it resumes.
    """

    config_class = DistillationConfig

    def __init__(self, policy: Policy, sampler: Sampler, config: Config, rewards: Rewards) -> None:
        from grpo.teachers import teacher_record, teacher_values

        super().__init__(policy, sampler, config, rewards)
        for name, lora in self.settings.teachers.items():
            policy.keep(f"teacher {name}")
            policy.banks[f"teacher {name}"].restore(teacher_values(policy, name, lora))
        loras = self.settings.teachers
        self._teachers = {name: teacher_record(lora) for name, lora in loras.items()}

    def teachers(self) -> Mapping[str, Mapping[str, Any]]:
        """The LoRAs, by name."""
        return self._teachers

    def state(self) -> dict[str, Any]:
        """Also the checksums of the teachers' files."""
        checksums = {name: teacher["sha256"] for name, teacher in self._teachers.items()}
        return {**super().state(), "teachers": checksums}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`.

        Raises:
            InputError: a teacher's file is not the one that the run began with.
        """
        super().restore(state)
        for name, teacher in self._teachers.items():
            before = state["teachers"][name]
            if teacher["sha256"] != before:
                raise InputError(
                    f"the teacher {name}, {teacher['source']}, has changed since the run began: "
                    f"its sha256 is {teacher['sha256']}, and was {before}. Put back the file of "
                    "then, or name another --out"
                )

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """All random steps, but for the last where it is left out."""
        import torch

        from grpo.rollout import Plan

        steps = self.sampler.stochastic_steps()
        kept = [i for i in steps if not self.settings.drop_last or i < self.sampler.steps - 1]
        return Plan(frozenset(steps), torch.tensor([kept] * groups))

    def credit(self, rollout: Rollout, scores: Mapping[str, Tensor]) -> Advantages:
        """None: a teacher teaches every sample, and says in each step what it is worth."""
        import torch

        from grpo.advantage import Advantages

        shape = next(iter(scores.values())).shape
        return Advantages(torch.zeros(shape), {}, torch.ones(shape[0], dtype=torch.bool))

    def before_updates(
        self, probes: Iterable[Samples], batches: Callable[[], Iterable[Samples]]
    ) -> dict[str, float]:
        """The drift of log-probabilities, see `check_log_probs`; the form direct reads none."""
        if self.settings.form == "direct":
            return {}
        replayed = partial(replayed_log_probs, self.policy, self.sampler)
        return check_log_probs(
            self.policy.world, probes, batches, replayed, self.settings.clip_range
        )

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per stored step."""
        from grpo.loss import divergence, kl_x
        from grpo.surrogates import clipped_surrogate
        from rewardkit.devices import sent

        past, settings = samples.rollout.transitions, self.settings
        number = past.index.shape[1]
        for k in range(number):
            taught = self._taught(samples, k)
            if settings.kl > 0:
                with self.policy.using("start"):
                    start = replay(self.policy, self.sampler, samples, k).step
            now = replay(self.policy, self.sampler, samples, k)
            gap = divergence(now.step.mean, taught, now.step.std)
            figures = {"teacher_kl": gap.detach().mean()}
            if settings.form == "direct":
                term = Term(gap.mean(), 1 / number, figures)
            else:
                loss = clipped_surrogate(
                    now.log_prob,
                    sent(past.log_prob[samples.rows, k], gap.device),
                    -gap,
                    clip_range=settings.clip_range,
                    advantage_clip=self.config.advantage.clamp,
                    advantage_gradient=True,
                )
                term = Term.of(loss, 1 / number)
                term.figures.update(figures)
            if settings.kl > 0:
                penalty = kl_x(now.step.mean, start.mean, now.step.std)
                term = term.penalised("kl", penalty, settings.kl)
            yield term

    def _taught(self, samples: Samples, k: int) -> Tensor:
        """The mean of each sample's k-th stored step as its teacher would take it, [n, ...]."""
        import torch

        lines, owner = samples.rollout.lines, samples.rollout.owner[samples.rows]
        teachers = [self.settings.teacher_of(lines[prompt]) for prompt in owner.tolist()]
        # Processes that keep step call the network equally often, whoever teaches their samples.
        needed = self.settings.teachers if self.policy.world.lockstep else set(teachers)
        means = {}
        for name in sorted(needed):
            with self.policy.using(f"teacher {name}"):
                means[name] = replay(self.policy, self.sampler, samples, k).step.mean
        return torch.stack([means[name][row] for row, name in enumerate(teachers)])
