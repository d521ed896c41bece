"""The whole configuration of a run: every field typed, bounded, and described in a sentence.

Methods and recipes are TOML files that fill parts of it; `grpo.config.resolve` lays them over one
another. Values that do not fit together are refused with what is given, what is accepted and what
to do. Loads no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, final

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from grpo import objectives
from grpo.config.objective import ObjectiveConfig
from grpo.config.sampler import SamplerConfig
from grpo.config.section import Section

__all__ = [
    "AdvantageConfig",
    "CheckpointConfig",
    "Config",
    "EvaluationConfig",
    "OptimConfig",
    "PolicyConfig",
    "SamplerConfig",
    "ScoringConfig",
]


@final
class AdvantageConfig(Section):
    """How rewards become advantages; `grpo.advantage` says who does it which way."""

    baseline: Literal["group", "batch"] = "group"
    """Whose mean reward is subtracted."""
    scale: Literal["group", "batch", "max", "none"] = "group"
    """Whose std divides: the group's, the batch's, that of the widest group, or 1."""
    unbiased: bool = True
    """Whether std is over n - 1, or over n."""
    eps: float = Field(default=1e-8, gt=0, le=1)
    """Added to std."""
    combine: Literal["advantages", "raw"] = "advantages"
    """What the weights of several rewards multiply: advantages, or raw scores."""
    clamp: float = Field(default=5.0, gt=0, le=1000)
    """Advantages are cut to plus or minus this."""
    best: int | None = Field(default=None, ge=2, le=10_000)
    """Samples of each group to train on, half best, half worst; none is all."""
    count_flat: bool = False
    """Whether groups with equal rewards, which have no gradient, still count in the mean."""


@final
class PolicyConfig(Section):
    """What of the model is trained, and in which precision."""

    parameters: Literal["full", "lora"] = "lora"
    """All weights of the network, or a LoRA beside them."""
    rank: int = Field(default=32, ge=1, le=4096)
    """Of the LoRA."""
    alpha: int = Field(default=64, ge=1, le=65_536)
    """The LoRA's product is scaled by alpha / rank."""
    # Lists of JSON and TOML become a tuple: the configuration is frozen.
    targets: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    """Layers that get a LoRA, by the end of their names; none is all of attention's."""
    init_lora: str | None = Field(default=None, min_length=1)
    """A LoRA to start from, whose rank, alpha and layers hold; kl is from the model without it."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What networks compute in; trained weights and the VAE are float32."""
    float32_matmul: Literal["highest", "high", "medium"] | None = None
    """Precision of float32 matrix products on a GPU (high is TF32); none is torch's own."""
    gradient_checkpointing: bool = False
    """Whether activations are computed twice to save memory."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay, per update, of the averaged weights that are shown and saved; none is no average."""
    ema_warmup: float | None = Field(default=None, gt=0, le=1)
    """Power p: after s updates the decay is at most ((1 + s) / (10 + s))^p; none is no warm-up."""
    detach_uncond: bool = False
    """Whether the prediction without the prompt, under guidance, gets no gradient."""

    def ema_decay(self, updates: int) -> float:
        """What the averaged weights keep of themselves at the update of that number, from 1 on.

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
    """Learning rate, at its highest."""
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    """AdamW's."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """AdamW's."""
    eps: float = Field(default=1e-8, gt=0, le=1)
    """AdamW's."""
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e6)
    """Gradients with a larger norm are scaled down to it."""
    warmup: int = Field(default=0, ge=0, le=1_000_000)
    """Training steps in which the learning rate rises."""
    decay: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rate falls until the last training step."""


@final
class EvaluationConfig(Section):
    """What is measured on the way, on pictures of the model's own sampler."""

    prompts: str | None = Field(default=None, min_length=1)
    """A file of prompts, or package:NAME/FILE; none is no evaluation."""
    every: int | None = Field(default=None, ge=1, le=1_000_000)
    """Training steps from one evaluation to the next; none is before and after training."""
    samples: int = Field(default=64, ge=2, le=1_000_000)
    """Pictures of an evaluation, over all prompts; from 2 on, a mean has an error."""
    rewards: str | None = Field(default=None, min_length=1)
    """What scores them; none is the training reward."""
    sheet: int = Field(default=8, ge=1, le=100)
    """How many of them are shown on a sheet."""
    steps: int | None = Field(default=None, ge=1, le=1000)
    """Denoising steps; none is the model's own."""


@final
class ScoringConfig(Section):
    """How rewards are computed, in training and in evaluation."""

    device: str | None = Field(default=None, min_length=1)
    """Device of the rewards' networks: cpu, cuda, cuda:1, mps; none is the model's."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the rewards' networks."""
    batch_size: int = Field(default=32, ge=1, le=10_000)
    """Samples that go through a reward's network at once; halved when memory runs out."""
    offload: bool = False
    """Whether the rewards' networks stay on the CPU while they are not in use."""
    weights: dict[str, str] = Field(default={})
    """Local files of the rewards' weights, NAME = PATH, by the names `rewardkit show` gives."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.offload and self.device == "cpu":
            raise ValueError(
                "scoring.offload moves the rewards' networks to the CPU while they are not in use, "
                "but scoring.device is cpu, so they are there already. Set scoring.offload to false"
            )
        return self


@final
class CheckpointConfig(Section):
    """What a run that was stopped goes on from."""

    every: int = Field(default=20, ge=1, le=1_000_000)
    """Training steps from one checkpoint to the next."""
    keep: int = Field(default=2, ge=1, le=1000)
    """How many of the newest stay."""


def _of_its_kind(table: Any) -> Any:
    """The table [objective] by the class of its kind."""
    if not isinstance(table, dict):
        return table
    known = objectives.kinds()
    if table.get("kind") in known:
        return objectives.find(table["kind"]).config_class.model_validate(table)
    accepted = {"kinds": " or ".join(known)}
    wrong = PydanticCustomError("unknown_kind", "Input should be {kinds}", accepted)
    problem = InitErrorDetails(
        type=wrong if "kind" in table else "missing", loc=("kind",), input=table.get("kind")
    )
    raise ValidationError.from_exception_data("objective", [problem])


@final
class Config(Section):
    """A run."""

    model: str = Field(min_length=1)
    """What is trained: a name (rewardkit pipelines), owner/name on the hub, or a folder."""
    revision: str | None = Field(default=None, min_length=1)
    """Commit, tag or branch on the hub; none is the name's own."""
    reward: str = Field(min_length=1)
    """What it is trained on: a spec such as 0.7*hps+1.4*clip."""
    prompts: str = Field(min_length=1)
    """A file of prompts, or package:NAME/FILE."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Random seed of the run."""
    steps: int = Field(ge=1, le=1_000_000)
    """Training steps: a rollout and its updates each."""
    method: str = Field(min_length=1)
    """Name or file of the method."""
    recipe: str | None = Field(default=None, min_length=1)
    """Name or file of the recipe; none where the method alone decided."""
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
            raise ValueError(
                f"advantage.best {best} is given for groups of {size}; it is at most that"
            )
        updates, trained = self.objective.updates, self.sampler.prompts_per_step * (best or size)
        if updates > trained:
            raise ValueError(
                f"objective.updates {updates} is given for {trained} samples; an update takes at "
                "least one"
            )
        if self.policy.init_lora is not None and self.policy.parameters != "lora":
            raise ValueError(
                "policy.init_lora is given, but policy.parameters is full; a LoRA to start from is "
                "trained as a LoRA. Set policy.parameters to lora, or merge the LoRA with "
                "diffusers' fuse_lora"
            )
        if self.optim.warmup >= self.steps:
            raise ValueError(
                f"optim.warmup {self.optim.warmup} is given for {self.steps} training steps; it is "
                "less than those"
            )
        self.objective.check(self.sampler)
        return self
