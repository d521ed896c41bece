"""What of a network is trained, all weights or a LoRA beside them, and how that is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from grpo.whole import save_whole
from rewardkit.errors import UsageError
from rewardkit.models.folders import LORA, quiet
from rewardkit.models.protocol import CARD
from rewardkit.records.storage import atomic_write, write_json

if TYPE_CHECKING:
    from grpo.config import PolicyConfig
    from grpo.policies.policy import Policy


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


def export(policy: Policy, folder: Path, run_card: Mapping[str, Any]) -> None:
    """Saves what was trained as plain diffusers loads it.

    A LoRA becomes one file, for the base pipeline's `load_lora_weights`; all weights become a
    pipeline, for `from_pretrained`. `rewardkit.json` beside them, the run card with the protocol
    of the run, is written last: a folder without it is unfinished.
    """
    from peft import get_peft_model_state_dict

    pipe: Any = policy.pipeline.diffusers
    network: Any = policy.network
    (folder / CARD).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    if policy.adapted:
        settings = network.peft_config["default"]
        # Without it, alpha would be taken for the rank. The rest of the settings would be refused
        # by releases of peft that lack one of them.
        metadata = {
            "r": settings.r,
            "lora_alpha": settings.lora_alpha,
            "target_modules": sorted(settings.target_modules),
        }
        with atomic_write(folder / LORA) as temporary, quiet():
            pipe.save_lora_weights(
                temporary.parent,
                weight_name=temporary.name,
                **{
                    f"{policy.part}_lora_layers": get_peft_model_state_dict(network),
                    f"{policy.part}_lora_adapter_metadata": metadata,
                },
            )
    else:
        save_whole(pipe, policy.part, policy.pipeline.folder, folder)
    write_json(folder / CARD, {**run_card, "protocol": policy.protocol.model_dump()})


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
