"""The whole configuration of a run: every field typed, bounded, and said in a sentence.

Methods and recipes are TOML files that fill parts of it; `grpo.config.resolve` lays them over one
another, and `grpo.config.checks` refuses what does not fit together. Loads no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from grpo.config import checks


class Section(BaseModel):
    """A table of the configuration; the text under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True,
        strict=True,  # TOML has types: "3" for a number, or true for 1, is a mistake
    )  # fmt: skip


@final
class SamplerConfig(Section):
    """How samples are drawn in training: in which steps, with which noise, how many."""

    rule: Literal["ddim", "dance", "flow", "cps", "ode"]
    """What a step does: ddim for diffusion models, the others for flows."""
    noise_level: float = Field(default=0.0, ge=0, le=10)
    """eta of ddim and dance, a of flow and cps; 0 for ode."""
    steps: int = Field(ge=1, le=1000)
    """Denoising steps of a sample."""
    guidance: float | None = Field(default=None, ge=0, le=100)
    """Guidance scale, in sampling and training alike; none is the model's own."""
    height: int | None = Field(default=None, ge=8, le=8192)
    """Of pictures, in pixels; none is the model's own."""
    width: int | None = Field(default=None, ge=8, le=8192)
    """Of pictures, in pixels; none is the model's own."""
    max_sequence_length: int | None = Field(default=None, ge=0, le=512)
    """Tokens to which prompts are padded or cut; none is the model's own."""
    schedule: Literal["uniform", "scheduler"] = "scheduler"
    """Sigmas of a flow: even ones, shifted by the scheduler (FLUX), or its own (SD3)."""
    shift: float | None = Field(default=None, gt=0, le=100)
    """Of a flow's sigmas; none is the scheduler's own."""
    truncate_timesteps: bool = False
    """Whether a flow is told 1000 sigma without its fraction."""
    prompts_per_step: int = Field(ge=1, le=100_000)
    """Prompts of a training step."""
    group_size: int = Field(ge=2, le=10_000)
    """Samples of each prompt, which are compared with one another."""
    batch_size: int = Field(default=1, ge=1, le=10_000)
    """Samples per call of the model; it bounds memory, and changes nothing but rounding."""
    noise: Literal["sample", "group", "step"] = "sample"
    """What has one initial noise: each sample, a prompt's group, or a training step."""
    stochastic: Literal["all", "window"] = "all"
    """Which steps draw noise: all, or a window of them, the others following the ODE."""
    window_size: int | None = Field(default=None, ge=1, le=1000)
    """Steps in the window."""
    window_within: int | None = Field(default=None, ge=1, le=1000)
    """The window lies at random inside this many first steps."""

    @property
    def deterministic(self) -> bool:
        """Whether no step draws noise, so that the initial noise alone decides the picture."""
        return self.noise_level == 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        checks.sampler(self)
        return self


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
class PolicyGradient(Section):
    """The clipped surrogate on stored transitions: DDPO, DanceGRPO, Flow-GRPO."""

    kind: Literal["policy-gradient"]
    """Which objective this is."""
    clip_range: float = Field(default=1e-4, gt=0, lt=1)
    """Of the ratio about 1; it belongs to log-probabilities per dimension."""
    log_prob: Literal["gaussian", "bare"] = "gaussian"
    """Log-probability of a step: of its Gaussian, or -(x' - mu)^2 alone; KL of x is likewise."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the random steps to train on; `subset` says whether per group or per sample."""
    subset: Literal["group", "sample"] = "group"
    """Whether a prompt's samples train on the same random steps, or each sample on its own."""
    drop_last: bool = True
    """Whether the last step is left out of training."""
    updates: int = Field(default=1, ge=1, le=10_000)
    """Optimizer updates per pass over a rollout."""
    epochs: int = Field(default=1, ge=1, le=1000)
    """Passes over a rollout."""
    kl: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the distance to the model at the start."""
    kl_space: Literal["x", "v"] = "x"
    """What that distance is of: the mean of a step, or the model's output."""


@final
class ForwardProcess(Section):
    """DiffusionNFT: clean samples are noised again, and no step needs a probability."""

    kind: Literal["forward-process"]
    """Which objective this is."""
    beta: float = Field(default=1.0, gt=0, le=100)
    """How far the implicit policies are from the old one."""
    timesteps: int = Field(ge=1, le=1000)
    """Of the sampler's timesteps, how many each sample is trained at per pass."""
    updates: int = Field(default=1, ge=1, le=10_000)
    """Optimizer updates per pass over a rollout."""
    epochs: int = Field(default=1, ge=1, le=1000)
    """Passes over a rollout."""
    kl: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the distance to the model at the start."""
    decay_start: int = Field(default=0, ge=0, le=1_000_000)
    """Updates until which the old policy is the new one."""
    decay_slope: float = Field(default=0.001, ge=0, le=1)
    """By how much the old policy's decay then grows with each update."""
    decay_cap: float = Field(default=0.5, ge=0, lt=1)
    """The largest decay of the old policy."""

    def decay(self, updates: int) -> float:
        """What the old policy keeps of itself after so many optimizer updates, in [0, 1).

        Source: NVlabs/DiffusionNFT scripts/train_nft_sd3.py: return_decay.
        """
        return min(self.decay_slope * max(updates - self.decay_start, 0), self.decay_cap)


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
        checks.scoring(self)
        return self


@final
class CheckpointConfig(Section):
    """What a run that was stopped goes on from."""

    every: int = Field(default=20, ge=1, le=1_000_000)
    """Training steps from one checkpoint to the next."""
    keep: int = Field(default=2, ge=1, le=1000)
    """How many of the newest stay."""


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
    objective: Annotated[PolicyGradient | ForwardProcess, Field(discriminator="kind")]
    policy: PolicyConfig = PolicyConfig()
    optim: OptimConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    scoring: ScoringConfig = ScoringConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        checks.run(self)
        return self
