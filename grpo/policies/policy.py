"""A policy: a diffusers pipeline taken apart into what reinforcement learning needs of it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from grpo.adapters import prepare
from grpo.banks import Bank
from grpo.policies.condition import Condition
from grpo.policies.embeddings import HOME, REMEMBERED, Embeddings
from rewardkit.devices import pick_dtype, sent
from rewardkit.errors import UsageError, WeightsError
from rewardkit.generators.arguments import check_protocol
from rewardkit.generators.decoding import decode
from rewardkit.generators.pipelines import generate
from rewardkit.generators.placement import cast
from rewardkit.generators.requests import Request

if TYPE_CHECKING:
    from grpo.config.fields import Config, SamplerConfig
    from grpo.sampler import Sampler
    from rewardkit.generators.pipelines import Pipeline
    from rewardkit.generators.protocol import Protocol

_log = logging.getLogger(__name__)
# What a run may change of how the pipeline is sampled; how many steps training takes is not of it.
_OF_PROTOCOL = {"guidance", "height", "width", "max_sequence_length"}


class Policy(ABC):
    """A generator in training, over its pipeline's own parts.

    What is trained is in float32, all weights of the network or a LoRA. The rest is frozen and in
    the run's dtype, but for layers that their authors keep in float32, and for the VAE, which is
    always in it, so that rewards see what a saved picture shows. Text encoders stay on the CPU, and
    visit the device where prompts are embedded.

    Attributes:
        pipeline: whose parts these are; what it makes, it makes with the weights in training.
            `pictures` calls it.
        protocol: the pipeline's, with the run's size, guidance and text length.
        network: what is trained, without any wrapper.
        module: what `predict` calls: the network, unless a wrapper of it (DDP, compiled) is put
            here.
        adapted: whether a LoRA is trained, not all weights.
        device: where the network and the VAE are.
        dtype: what they compute in.
        banks: copies of the trained parameters, by the names `keep` gave them.
    """

    #: Diffusers' pipeline classes of this family.
    pipeline_classes: ClassVar[tuple[str, ...]]
    #: The pipeline's part that is trained.
    part: ClassVar[str]
    #: The rules of `grpo.sampler` that fit what it predicts.
    rules: ClassVar[tuple[str, ...]]
    #: The layers a LoRA is put on, by the end of their names.
    targets: ClassVar[tuple[str, ...]]
    #: What the pipeline's call names each of the embeddings that the network is given.
    embeddings: ClassVar[Mapping[str, str]]

    def __init__(
        self, pipeline: Pipeline, config: Config, device: torch.device | None = None
    ) -> None:
        """See `grpo.policies.of`."""
        if pipeline.lora is not None:
            raise UsageError(
                f"the pipeline has loaded the LoRA {pipeline.lora}, which would not be trained. "
                "Give it as policy.init_lora, or merge it with diffusers' fuse_lora and "
                "save_pretrained, and train that folder"
            )
        pipe: Any = pipeline.diffusers
        self.pipeline, self._pipe = pipeline, pipe
        given = config.sampler.model_dump(include=_OF_PROTOCOL, exclude_none=True)
        self.protocol = pipeline.protocol.model_copy(update=given)
        check_protocol(pipe, self.protocol)
        self.device = device or pipe.device
        self.dtype = pick_dtype(config.policy.dtype)
        self.network: nn.Module = getattr(pipe, self.part)
        self.module = self.network
        self.adapted = config.policy.parameters == "lora"
        self._detach_uncond = config.policy.detach_uncond
        parts = {name: m for name, m in pipe.components.items() if isinstance(m, nn.Module)}
        for part in parts.values():
            exact = part is pipe.vae or (part is self.network and not self.adapted)
            part.requires_grad_(False).eval()
            cast(part, torch.float32 if exact else self.dtype)
        prepare(self.network, config.policy, self.targets, config.seed)
        encoders = [m for name, m in parts.items() if name.startswith("text_encoder")]
        for part in parts.values():
            # Diffusers' own `to` warns of modules to be left in float32 where there are none.
            nn.Module.to(part, HOME if part in encoders else self.device)
        self._trained = {n: p for n, p in self.network.named_parameters() if p.requires_grad}
        self.banks: dict[str, Bank] = {}
        self._embedded = Embeddings(encoders, self.device)

    @abstractmethod
    def _sampler(self, config: SamplerConfig) -> Sampler:
        """The steps of `config`, whose rule is one of `rules`."""

    @abstractmethod
    def _text(self, prompt: str) -> dict[str, Tensor]:
        """What the network is told of a prompt, by the names of its arguments, [1, ...]."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a sample's latents: C, h, w."""
        network: Any = self.network
        height, width = self.protocol.height, self.protocol.width
        scale: int = self._pipe.vae_scale_factor
        return network.config.in_channels, height // scale, width // scale

    def sampler(self, config: SamplerConfig) -> Sampler:
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
        return self._sampler(config)

    def encode(self, prompts: Sequence[str]) -> Condition:
        """What the network is told of prompts, [H, B, ...]; embeddings are remembered.

        Raises:
            WeightsError: an embedding is not finite.
        """
        self.remember(prompts)
        halves = [prompts] if (self.protocol.guidance or 0) <= 1 else [[""] * len(prompts), prompts]
        told = [[self._embedded[prompt] for prompt in half] for half in halves]
        return Condition(
            {
                name: sent(
                    torch.stack([torch.stack([each[name] for each in half]) for half in told]),
                    self.device,
                )
                for name in told[0][0]
            }
        )

    def remembers(self, prompts: Iterable[str]) -> bool:
        """Whether all of these prompts can be encoded without a visit of the text encoders."""
        return all(prompt in self._embedded for prompt in prompts)

    def remember(self, prompts: Iterable[str]) -> None:
        """Embeds the prompts that are not remembered; the text encoders visit the device for it.

        Raises:
            WeightsError: an embedding is not finite.
        """
        empty = [""] if (self.protocol.guidance or 0) > 1 else []
        self._embedded.add([*prompts, *empty], self._text)

    def pictures(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        protocol: Protocol,
        batch_size: int,
    ) -> list[Tensor]:
        """What the pipeline makes with the weights as they are, uint8 [3, H, W] on the CPU.

        Args:
            prompts: one per picture.
            seeds: see `rewardkit.generators.pipelines.generate`.
            protocol: this policy's, but for its number of steps.
            batch_size: pictures made at once.

        Raises:
            WeightsError: an embedding or a picture is not finite.
        """
        made: list[Any] = []
        # Whole batches, so that a picture's batch does not depend on how much is remembered.
        # The empty prompt is remembered too: one more would be embedded again by each batch.
        size = max((REMEMBERED - 1) // batch_size, 1) * batch_size
        for start in range(0, len(prompts), size):
            part = slice(start, start + size)
            self.remember(prompts[part])
            with self.autocast():
                made += generate(
                    self.pipeline,
                    [
                        Request(prompt, s)
                        for prompt, s in zip(prompts[part], seeds[part], strict=True)
                    ],
                    protocol=protocol,
                    batch_size=batch_size,
                    embed=lambda batch: self._arguments([request.prompt for request in batch]),
                )
        return made

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What sampling starts from, [B, C, h, w], float32: each sample from its own generator."""
        drawn = [torch.randn(self.shape, generator=g, device=g.device) for g in generators]
        return sent(torch.stack(drawn), self.device)

    def predict(self, x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """The network's output, guided, [B, C, h, w], float32.

        Args:
            x: [B, C, h, w].
            timesteps: of the sampler, [B].
            condition: of `encode`.
        """
        guided = (self.protocol.guidance or 0) > 1
        if guided:
            x, timesteps = torch.cat([x, x]), torch.cat([timesteps, timesteps])
        inputs = {name: tensor.flatten(0, 1) for name, tensor in condition.inputs.items()}
        with self.autocast():
            output = self._output(x, timesteps, inputs).float()
        if not guided:
            return output
        without, given = output.chunk(2)
        if self._detach_uncond:
            without = without.detach()
        return torch.lerp(without, given, self.protocol.guidance or 0)

    def decode(self, x0: Tensor) -> Tensor:
        """The pictures of clean latents, uint8 [B, 3, H, W] on the CPU: pixels of a saved PNG.

        Raises:
            WeightsError: a picture is not finite.
        """
        pictures: list[Any] = []
        for picture in decode(self._pipe, x0, self.protocol):
            if picture is None:
                raise WeightsError(
                    "a picture is not a number (NaN). In float16 many models overflow: take "
                    "policy.dtype bfloat16. Else training has diverged: take a lower optim.lr"
                )
            pictures.append(picture)
        return torch.stack(pictures)

    def autocast(self) -> torch.autocast:
        """In force where the networks compute in `dtype`; it does nothing in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by its name in the network; float32."""
        return dict(self._trained)

    def keep(self, name: str) -> None:
        """Copies the trained parameters as they are, for `using` and `banks`.

        The "start" of a LoRA is the network without it: nothing is copied.
        """
        if not (name == "start" and self.adapted):
            self.banks[name] = Bank(self.parameters())

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Runs under a copy of the weights inside the block, where there are no gradients.

        Args:
            name: of a copy that was kept, or "start", the network without the LoRA in training.
        """
        if name in self.banks:
            with self.banks[name].in_force():
                yield
            return
        if not (name == "start" and self.adapted):
            raise KeyError(f"no weights are kept as {name!r}; policy.keep({name!r}) does")
        network: Any = self.network
        network.disable_adapters()
        try:
            with torch.no_grad():
                yield
        finally:
            network.enable_adapters()

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """What `module` makes of a batch; a family whose network is called otherwise says how."""
        output: Tensor = self.module(x, timestep=timesteps, return_dict=False, **inputs)[0]
        return output

    def _arguments(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """The embeddings of prompts as arguments of the pipeline's call."""
        named: dict[str, Tensor] = {}
        for name, halves in self.encode(prompts).inputs.items():
            *without, given = halves
            named[self.embeddings[name]] = given
            if without:
                named[f"negative_{self.embeddings[name]}"] = without[0]
        return named
