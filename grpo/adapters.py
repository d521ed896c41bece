"""Prepares a pipeline for training: the trained weights (all, or a LoRA), dtypes and devices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from grpo.distributed import World
from rewardkit.devices import pick_dtype
from rewardkit.errors import UsageError
from rewardkit.generators.placement import cast

if TYPE_CHECKING:
    from grpo.config.fields import Config, PolicyConfig

#: Parts that `policy.offload` keeps at home, which text encoders never leave but for a visit.
OFFLOADED = ("vae", "image_encoder")


def place(
    components: Mapping[str, Any],
    trained: Collection[str],
    config: Config,
    targets: Sequence[str],
    device: torch.device,
    home: torch.device,
    world: World,
) -> list[nn.Module]:
    """Makes the networks of a pipeline ready: cast, frozen or trainable, and where they belong.

    Args:
        components: the parts of the pipeline, by name; those that are networks are made ready.
        trained: names of those that are trained.
        config: what to train, the dtype of what is frozen (the VAE is in float32 always), and the
            random seed of a LoRA's initial values.
        targets: the family's LoRA targets, where `config` names none.
        device: where all go but for the text encoders, and for what is offloaded.
        home: where these go.
        world: the processes that train; what is trained goes to the device as they share it.

    Returns:
        The text encoders.

    Raises:
        UsageError: a target fits no layer.
    """
    dtype = pick_dtype(config.policy.dtype)
    networks = {name: part for name, part in components.items() if isinstance(part, nn.Module)}
    for name, network in networks.items():
        exact = name == "vae" or (name in trained and config.policy.parameters == "full")
        network.requires_grad_(False).eval()
        cast(network, torch.float32 if exact else dtype)
    for name in trained:
        prepare(networks[name], config.policy, targets, config.seed)
    vae: Any = networks.get("vae")
    able = getattr(vae, "_supports_gradient_checkpointing", False)
    if config.policy.gradient_checkpointing and able:  # for rewards that are back-propagated
        vae.enable_gradient_checkpointing()
    encoders = [network for name, network in networks.items() if name.startswith("text_encoder")]
    for name, network in networks.items():
        waits = network in encoders or (config.policy.offload and name in OFFLOADED)
        if name in trained:
            world.place(network, device)
        else:  # diffusers' own `to` warns of modules to be left in float32 where there are none
            nn.Module.to(network, home if waits else device)
    return encoders


@contextmanager
def bare(networks: Collection[Any]) -> Iterator[None]:
    """Switches LoRAs of diffusers networks off inside the block, where there are no gradients."""
    for network in networks:
        network.disable_adapters()
    try:
        with torch.no_grad():
            yield
    finally:
        for network in networks:
            network.enable_adapters()


def prepare(network: nn.Module, config: PolicyConfig, targets: Sequence[str], seed: int) -> None:
    """Makes a frozen network of diffusers trainable; what is trained is float32.

    A LoRA adds (alpha / rank) B A to a weight; A is drawn from N(0, 1 / rank^2), B is 0.

    Args:
        network: a UNet or transformer.
        config: what to train.
        targets: the family's LoRA targets, where `config` names none.
        seed: of A; the same on every device.

    Raises:
        UsageError: a target fits no layer.

    Source: Hu et al. 2021, https://arxiv.org/abs/2106.09685; the initial values are those of
    yifan123/flow_grpo scripts/train_sd3.py.
    """
    diffuser: Any = network
    if config.parameters == "full":
        network.float().requires_grad_(True)
    else:
        targets = config.targets or targets
        _check(targets, network)
        from peft import LoraConfig

        with torch.random.fork_rng(devices=[]):  # peft draws on the CPU, then moves
            torch.manual_seed(seed)
            diffuser.add_adapter(
                LoraConfig(
                    r=config.rank,
                    lora_alpha=config.alpha,
                    target_modules=list(targets),
                    init_lora_weights="gaussian",
                )
            )
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    if config.gradient_checkpointing:
        diffuser.enable_gradient_checkpointing()


def _check(targets: Sequence[str], network: nn.Module) -> None:
    """Refuses a target that peft would pass over, since others of them fit."""
    kinds = nn.Linear | nn.Conv2d
    layers = [name for name, layer in network.named_modules() if isinstance(layer, kinds)]
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in layers):
            ends = sorted({".".join(name.split(".")[-2:]) for name in layers})
            raise UsageError(
                f"policy.targets: no layer of the {type(network).__name__} is named {target!r}. "
                f"Ends of names: {', '.join(ends)}"
            )
