"""A policy: a diffusers pipeline taken apart into what reinforcement learning needs of it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from grpo.distributed import World
from grpo.guidance import classifier_free
from grpo.policies.prompts import Prompts
from rewardkit.devices import pick_dtype, sent
from rewardkit.errors import UsageError, WeightsError
from rewardkit.generators.arguments import check_protocol
from rewardkit.generators.decoding import decode, differentiable_pixels
from rewardkit.generators.placement import visiting
from rewardkit.generators.protocol import Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from grpo.banks import Bank
    from grpo.config.fields import Config, SamplerConfig
    from grpo.policies.condition import Condition
    from grpo.sampler import Sampler
    from rewardkit.generators.pipelines import Pipeline
    from rewardkit.media.batch import Medium

_log = logging.getLogger(__name__)
# What a run may change of how the pipeline is sampled; how many steps training takes is not of it.
_OF_PROTOCOL = set(Protocol.model_fields) - {"steps"}


class Policy(Prompts, ABC):
    """A generator in training, over its pipeline's own parts.

    What is trained is in float32, all weights of the networks or a LoRA. The rest is frozen and in
    the run's dtype, but for layers that their authors keep in float32, and for the VAE, which is
    always in it, so that rewards see what a saved file shows. Text encoders stay on the CPU, and
    visit the device where prompts are embedded.

    A family says in a subclass how a prompt is embedded (`_embed`), which steps are taken
    (`_schedule`) and how the network is called (`_output`) and guided (`predict`), where that
    differs; `grpo.testing` checks what a policy promises.

    Attributes:
        pipeline: whose parts these are; what it makes, it makes with the weights in training.
        protocol: the pipeline's, with the run's size, guidance, negative prompt and text length.
        networks: what is trained, without any wrapper, by the names of the pipeline's parts.
        modules: what `predict` calls: the networks, unless wrappers of them (DDP, compiled) are put
            here.
        adapted: whether a LoRA is trained, not all weights.
        detach_uncond: whether the prediction without the prompt gets no gradient.
        device: where the networks are, and the VAE unless it is offloaded.
        dtype: what they compute in.
        world: the processes that train it together.
        banks: copies of the trained parameters, by the names `keep` gave them.
    """

    #: Diffusers' pipeline classes of this family.
    pipeline_classes: ClassVar[tuple[str, ...]]
    #: The pipeline's parts that are trained.
    parts: ClassVar[tuple[str, ...]]
    #: The rules of `grpo.sampler` that fit what the networks predict.
    rules: ClassVar[tuple[str, ...]]
    #: The layers a LoRA is put on, by the end of their names.
    targets: ClassVar[tuple[str, ...]]
    #: Whether texts are padded to a length to choose, the protocol's max_sequence_length.
    has_text_length: ClassVar[bool] = True

    def __init__(
        self,
        pipeline: Pipeline,
        config: Config,
        device: torch.device | None = None,
        world: World | None = None,
    ) -> None:
        """See `grpo.policies.of`."""
        from grpo.adapters import OFFLOADED, place
        from grpo.policies.embeddings import HOME, Embeddings

        pipe: Any = pipeline.diffusers
        self.pipeline, self._pipe = pipeline, pipe
        chosen = config.sampler.model_dump(include=_OF_PROTOCOL, exclude_none=True)
        self.protocol = pipeline.protocol.model_copy(update=chosen)
        if self.scale <= 1 and "negative_prompt" not in chosen:  # nothing is led away from
            self.protocol = self.protocol.model_copy(update={"negative_prompt": None})
        check_protocol(pipe, self.protocol)
        self._check(pipeline)
        self.device = device or pipe.device
        self.world = world or World()
        self.dtype = pick_dtype(config.policy.dtype)
        self.networks: dict[str, nn.Module] = {part: getattr(pipe, part) for part in self.parts}
        self.modules = dict(self.networks)
        self.adapted = config.policy.parameters == "lora"
        self.detach_uncond = config.policy.detach_uncond
        parts = pipe.components
        encoders = place(parts, self.parts, config, self.targets, self.device, HOME, self.world)
        # With one network, names are its own: checkpoints hold them.
        self._trained = {
            name if len(self.parts) == 1 else f"{part}.{name}": parameter
            for part, network in self.networks.items()
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        }
        self.banks: dict[str, Bank] = {}
        self._embedded = Embeddings(encoders, self.device)
        waiting = [getattr(pipe, name, None) for name in OFFLOADED if config.policy.offload]
        self._offloaded = [network for network in waiting if network is not None]

    def predict(self, x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """The network's output, guided, [B, ...], float32.

        Flows give the velocity noise - x0, diffusion models what their scheduler says. Guidance is
        classifier-free, unless a family has another one of `grpo.guidance`.

        Args:
            x: [B, ...].
            timesteps: of the schedule, [B].
            condition: of `encode`.
        """
        halves = self._halves(x, timesteps, condition)
        return classifier_free(*halves, self.scale, detach_uncond=self.detach_uncond)

    @abstractmethod
    def _schedule(self, config: SamplerConfig) -> Sampler:
        """The steps of `config`, whose rule is one of `rules`, from the pipeline's scheduler."""

    def _check(self, pipeline: Pipeline) -> None:
        """Refuses a pipeline, or a protocol, of this family that cannot be trained; here, none.

        Raises:
            UsageError: it cannot.
        """

    @property
    def network(self) -> nn.Module:
        """The network of a family that trains one."""
        (network,) = self.networks.values()
        return network

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the noise that is drawn for a sample."""
        height, width = self.protocol.height, self.protocol.width
        scale: int = self._pipe.vae_scale_factor
        network: Any = self.network
        return network.config.in_channels, height // scale, width // scale

    def schedule(self, config: SamplerConfig) -> Sampler:
        """The steps that are walked in place of the pipeline's scheduler, which stays as it is.

        Raises:
            UsageError: the rule does not fit what the family predicts.
        """
        if config.rule not in self.rules:
            raise UsageError(
                f"sampler.rule {config.rule!r} given for a {type(self._pipe).__name__}; its rules "
                f"are {', '.join(self.rules)}"
            )
        _log.info(
            "training samples with %d first-order steps of rule %s in place of %s",
            config.steps,
            config.rule,
            type(self._pipe.scheduler).__name__,
        )
        return self._schedule(config)

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What sampling starts from, [B, ...], float32: each sample from its own generator."""
        import torch

        drawn = [torch.randn(self.shape, generator=g, device=g.device) for g in generators]
        return sent(torch.stack(drawn), self.device)

    def decode(self, x0: Tensor) -> list[Medium]:
        """The media of clean latents, decoded one by one, on the CPU: what a saved file holds.

        Raises:
            WeightsError: a medium is not finite.
        """
        with self.offloaded():
            media = list(decode(self._pipe, x0, self.protocol))
        finite = [medium for medium in media if medium is not None]
        if len(finite) < len(media):
            raise WeightsError(
                "a sample is not a number (NaN). In float16 many models overflow: take "
                "policy.dtype bfloat16. Else training has diverged: take a lower optim.lr"
            )
        return finite

    def pixels(self, x0: Tensor) -> Tensor:
        """The media of clean latents before they are rounded to 8 bits, with a gradient to `x0`.

        What `policy.offload` keeps on the CPU must be on the device until the gradient is computed:
        call it inside `offloaded`.

        Returns:
            `[B, 3, H, W]` of images, `[B, F, 3, H, W]` of clips, float32 in 0..1.
        """
        return differentiable_pixels(self._pipe, x0, self.protocol)

    def offloaded(self) -> AbstractContextManager[None]:
        """A context in which what `policy.offload` keeps on the CPU is on the device."""
        return visiting(self._offloaded, self.device)

    def autocast(self) -> torch.autocast:
        """A context in which the networks compute in `dtype`; it does nothing in float32."""
        import torch

        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by its name in the network; float32.

        Where a family trains several networks, names begin with that of the pipeline's part.
        """
        return dict(self._trained)

    def keep(self, name: str) -> None:
        """Copies the trained parameters as they are, for `using` and `banks`.

        The "start" of a LoRA is the network without it: nothing is copied.
        """
        from grpo.banks import Bank

        if not (name == "start" and self.adapted):
            self.banks[name] = Bank(self.parameters())

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Runs under a copy of the weights inside the block, where there are no gradients.

        Args:
            name: of a copy that was kept, or "start", the network without the LoRA in training.
        """
        from grpo.adapters import bare

        if name not in self.banks and not (name == "start" and self.adapted):
            raise KeyError(f"no weights are kept as {name!r}; policy.keep({name!r}) does")
        bank = self.banks.get(name)
        with bank.in_force() if bank is not None else bare(self.networks.values()):
            yield

    def _halves(
        self, x: Tensor, timesteps: Tensor, condition: Condition
    ) -> tuple[Tensor | None, Tensor]:
        """The network's outputs without and with the prompt, for `grpo.guidance`, float32.

        Both are made in one call of twice the batch; without guidance, the first is None.
        """
        import torch

        halves = condition.halves
        with self.autocast():
            output = self._output(
                torch.cat([x] * halves), torch.cat([timesteps] * halves), condition.arguments()
            ).float()
        unconditional, conditional = output.chunk(2) if halves == 2 else (None, output)
        return unconditional, conditional

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The network's output for a batch, in the form that `predict` guides."""
        (module,) = self.modules.values()
        output: Tensor = module(x, timestep=timesteps, return_dict=False, **inputs)[0]
        return output
