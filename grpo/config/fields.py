"""The whole configuration of a run: every field typed, bounded, and described in a sentence.

Methods and recipes are TOML files that fill parts of it; `grpo.config.resolve` lays them over one
another. Values that do not fit together are refused with what is given, what is accepted and what
to do. Loads no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, final

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model, model_validator

from grpo import objectives
from grpo.config.advantage import AdvantageConfig
from grpo.config.sampler import SamplerConfig
from grpo.config.scoring import ScoringConfig
from grpo.config.section import Section

if TYPE_CHECKING:
    from grpo.sampler import Sampler
    from rewardkit.engine.spec import RewardSpec
    from rewardkit.media.prompts import PromptLine
    from rewardkit.media.task import Task

__all__ = [
    "AdvantageConfig",
    "CheckpointConfig",
    "Config",
    "EvaluationConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "PolicyConfig",
    "SamplerConfig",
    "ScoringConfig",
]

#: The settings that `Objective.credit` reads, unless a subclass has a credit of its own.
CREDIT = tuple(
    f"advantage.{name}"
    for name in ("baseline", "history", "history_min", "scale", "unbiased", "eps", "combine")
)


@final
class PolicyConfig(Section):
    """Which weights are trained, and in which precision."""

    parameters: Literal["full", "lora"] = "lora"
    """Weights to train: all of the network, or a LoRA."""
    rank: int = Field(default=32, ge=1, le=4096)
    """Rank of the LoRA."""
    alpha: int = Field(default=64, ge=1, le=65_536)
    """Scale of the LoRA: its product is multiplied by alpha / rank."""
    # Lists of JSON and TOML become a tuple: the configuration is frozen.
    targets: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    """Layers that get a LoRA, by the end of their names; none uses all attention layers."""
    init_lora: str | None = Field(default=None, min_length=1)
    """LoRA to start from, which sets rank, alpha and layers; kl is to the model without it."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype that networks compute in; trained weights and the VAE are float32."""
    float32_matmul: Literal["highest", "high", "medium"] | None = None
    """Precision of float32 matrix products on a GPU (high is TF32); none uses torch's own."""
    gradient_checkpointing: bool = False
    """Recompute activations to save memory."""
    offload: bool = False
    """Keep the VAE and any image encoder on the CPU while a GPU does not need them."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay per update of averaged weights, which are evaluated and saved; none: no average."""
    ema_warmup: float | None = Field(default=None, gt=0, le=1)
    """Power p: after s updates the decay is at most ((1 + s) / (10 + s))^p; none has no warm-up."""
    detach_uncond: bool = False
    """Stop the gradient through the prediction without the prompt, under guidance."""

    def ema_decay(self, updates: int) -> float:
        """The decay of the averaged weights at an update; updates are counted from 1.

        Source: yifan123/flow_grpo flow_grpo/ema.py: EMAModuleWrapper.get_current_decay.
        """
        assert self.ema is not None
        if self.ema_warmup is None:
            return self.ema
        return min(((1 + updates) / (10 + updates)) ** self.ema_warmup, self.ema)


@final
class OptimConfig(Section):
    """AdamW and its learning rate."""

    lr: float = Field(gt=0, le=1)
    """Highest learning rate."""
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    """Weight decay of AdamW."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of AdamW's mean of gradients."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of AdamW's mean of squared gradients."""
    eps: float = Field(default=1e-8, gt=0, le=1)
    """Number that AdamW adds to its divisor."""
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e6)
    """Largest norm of the gradient; a larger one is scaled down to it."""
    warmup: int = Field(default=0, ge=0, le=1_000_000)
    """Number of training steps in which the learning rate rises."""
    decay: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate decay until the last training step."""


@final
class EvaluationConfig(Section):
    """Evaluations during training, on samples of the model's own sampler."""

    prompts: str | None = Field(default=None, min_length=1)
    """File of prompts, or package:NAME/FILE; none evaluates nothing."""
    every: int | None = Field(default=None, ge=1, le=1_000_000)
    """Training steps between evaluations; none evaluates only before and after training."""
    samples: int = Field(default=64, ge=2, le=1_000_000)
    """Samples per evaluation, over all prompts; at least 2, so that a mean has an error."""
    rewards: str | None = Field(default=None, min_length=1)
    """Rewards that score them; none uses the training reward."""
    sheet: int = Field(default=8, ge=1, le=100)
    """Number of samples shown on a sheet."""
    steps: int | None = Field(default=None, ge=1, le=1000)
    """Number of inference steps; none uses the model's own."""


@final
class CheckpointConfig(Section):
    """Checkpoints, from which a run that was stopped resumes."""

    every: int = Field(default=20, ge=1, le=1_000_000)
    """Training steps between checkpoints."""
    keep: int = Field(default=2, ge=1, le=1000)
    """Number of newest checkpoints to keep."""


class ObjectiveConfig(Section, ABC):
    """The settings of an objective, what they require of the run, and their cost.

    A subclass adds its own settings and is defined in the file of its objective, see
    `grpo.objectives`.
    """

    kind: str = Field(min_length=1)
    """Objective to minimise."""
    updates: int = Field(default=1, ge=1, le=10_000)
    """Optimizer updates per pass over a rollout."""
    epochs: int = Field(default=1, ge=1, le=1000)
    """Passes over a rollout."""

    def check(self, config: Config) -> None:
        """Refuse a run that these settings cannot train; here, one with groups of one sample.

        A subclass whose credit compares no samples of a group does not call this.

        Raises:
            ValueError: these settings cannot train the run; the message says what to change.
        """
        if config.sampler.group_size < 2 and config.advantage.baseline != "history":
            raise ValueError(
                "sampler.group_size is 1; it is at least 2, because a sample is compared with "
                "others of its prompt"
            )

    def check_rewards(self, rewards: RewardSpec) -> None:
        """Refuse rewards that cannot be trained on, before any is loaded; here, none.

        Raises:
            UsageError: naming the reward.
        """
        return None

    def unread(self, config: Config) -> dict[str, str]:
        """Settings that have no effect in this run: dotted key -> the reason, as a clause.

        They are refused where the user sets them, and noted where a method or a recipe does. A
        subclass adds its own. One whose `credit` reads nothing of [advantage] returns `CREDIT`
        with its reason, in place of what this returns.
        """
        how, history = config.advantage, ("advantage.history", "advantage.history_min")
        if how.baseline == "history":
            return {"advantage.scale": "advantage.baseline is history, whose own std divides"}
        found = dict.fromkeys(history, f"advantage.baseline is {how.baseline}")
        if how.scale == "none" and how.combine != "gdpo":
            reason = "advantage.scale is none, so nothing divides the advantages"
            found |= dict.fromkeys(("advantage.unbiased", "advantage.eps"), reason)
        return found

    def check_lines(self, lines: Sequence[PromptLine]) -> None:
        """Refuse prompts whose lines lack what the objective reads of them; here, it reads nothing.

        Raises:
            InputError: a line does; the message names it.
        """

    def check_files(self) -> None:
        """Refuse files that the settings name and that are not there; here, they name none.

        Raises:
            UsageError: naming the setting and the path.
        """

    def check_task(self, task: Task) -> None:
        """Refuse a task of models that the objective cannot train; here, it trains all.

        Raises:
            UsageError: naming what can be trained.
        """

    def anchored(self, absolute: Callable[[str], str]) -> Self:
        """The settings with absolute paths of LoRAs that they name; here, they name none."""
        return self

    @abstractmethod
    def steps_trained(self, sampler: SamplerConfig) -> int:
        """Number of denoising steps of each sample that one pass trains."""

    def steps_stored(self, sampler: SamplerConfig) -> int:
        """Number of denoising steps of each sample that a rollout stores."""
        return 0

    def copies(self, adapted: bool) -> int:
        """Number of copies of the trained parameters that are kept; `adapted`: these are a LoRA."""
        return 0

    def pull(self, config: SamplerConfig, sampler: Sampler) -> dict[int, float]:
        """How strongly the loss of each step that may be trained depends on the model's output.

        Per unit of noise and advantage, by the number of the step, see
        `grpo.sampler.Sampler.gradient_factors`; empty where losses have no probabilities.
        """
        return {}


def _of_its_kind(table: Any) -> Any:
    """The table [objective] by the class of its kind."""
    if not isinstance(table, dict):
        return table
    known = objectives.kinds()
    if table.get("kind") not in known:
        kind: Any = Literal.__getitem__(tuple(known))
        create_model("Kind", kind=(kind, ...)).model_validate(table)  # refuses it
    return objectives.find(table["kind"]).config_class.model_validate(table)


@final
class Config(Section):
    """A run."""

    model: str = Field(min_length=1)
    """Model to train: a name (rewardkit pipelines), owner/name on the hub, or a folder."""
    revision: str | None = Field(default=None, min_length=1)
    """Commit, tag or branch on the hub; none uses the name's own."""
    reward: str = Field(min_length=1)
    """Rewards to train on, such as 0.7*hps+1.4*clip."""
    prompts: str = Field(min_length=1)
    """File of prompts, or package:NAME/FILE."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Random seed of the run."""
    steps: int = Field(ge=1, le=1_000_000)
    """Number of training steps: a rollout and its updates each."""
    method: str = Field(min_length=1)
    """Name or file of the method."""
    recipe: str | None = Field(default=None, min_length=1)
    """Name or file of the recipe; none without a recipe."""
    sampler: SamplerConfig
    advantage: AdvantageConfig = AdvantageConfig()
    objective: Annotated[SerializeAsAny[ObjectiveConfig], BeforeValidator(_of_its_kind)]
    policy: PolicyConfig = PolicyConfig()
    optim: OptimConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    scoring: ScoringConfig = ScoringConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        best, size = self.advantage.best, self.sampler.group_size
        if best is not None and best > size:
            raise ValueError(f"advantage.best is {best}; it is at most sampler.group_size, {size}")
        updates, trained = self.objective.updates, self.sampler.prompts_per_step * (best or size)
        if updates > trained:
            raise ValueError(
                f"objective.updates is {updates}; it is at most {trained}, the number of samples "
                "trained on, since an update takes at least one"
            )
        if self.policy.init_lora is not None and self.policy.parameters != "lora":
            raise ValueError(
                "policy.init_lora is set, but policy.parameters is full; a LoRA to start from is "
                "trained as a LoRA. Set policy.parameters to lora, or merge the LoRA with "
                "diffusers' fuse_lora"
            )
        if self.optim.warmup >= self.steps:
            raise ValueError(
                f"optim.warmup is {self.optim.warmup}; it is less than steps, the {self.steps} "
                "training steps"
            )
        self.objective.check(self)
        return self
