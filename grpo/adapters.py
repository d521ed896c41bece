"""What of a network is trained, all weights or a LoRA beside them, and how that is saved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from grpo.whole import save_whole
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.generators.lora import LORA
from rewardkit.generators.protocol import CARD
from rewardkit.records.storage import write_json
from rewardkit.weights.quiet import quiet

if TYPE_CHECKING:
    from grpo.config.fields import PolicyConfig
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
    """Saves what was trained as plain diffusers loads it, whole or not at all.

    A LoRA becomes one file, for the base pipeline's `load_lora_weights`; all weights become a
    pipeline, for `from_pretrained`. Beside them is `rewardkit.json`, the run card with the protocol
    of the run. All of it is made in a hidden folder, which then takes the place of `folder`.

    Raises:
        InputError: the disk does not take it; what was there before is as it was.
    """
    from safetensors import SafetensorError

    new, old = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
    try:
        for left in (new, old):  # of an export that was killed
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        _save(policy, new)
        write_json(new / CARD, {**run_card, "protocol": policy.protocol.model_dump()})
        for path in new.rglob("*"):
            if path.is_file():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        _replace(folder, new, old)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"the trained model cannot be written to {folder}: {describe(error)}. Make room for "
            "it, and go on with --resume"
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _replace(folder: Path, new: Path, old: Path) -> None:
    """Puts `new` in the place of `folder`, which is at `old` for a moment."""
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _save(policy: Policy, folder: Path) -> None:
    """The files of an export, but for its card."""
    from peft import get_peft_model_state_dict

    pipe: Any = policy.pipeline.diffusers
    if not policy.adapted:
        save_whole(pipe, policy.parts, policy.pipeline.folder, folder)
        return
    saved: dict[str, Any] = {}
    networks: Mapping[str, Any] = policy.networks
    for part, network in networks.items():
        settings = network.peft_config["default"]
        saved[f"{part}_lora_layers"] = get_peft_model_state_dict(network)
        # Without it, alpha would be taken for the rank. The rest of the settings would be refused
        # by releases of peft that lack one of them.
        saved[f"{part}_lora_adapter_metadata"] = {
            "r": settings.r,
            "lora_alpha": settings.lora_alpha,
            "target_modules": sorted(settings.target_modules),
        }
    with quiet():  # for the bars: saving warns of no tensor
        pipe.save_lora_weights(folder, weight_name=LORA, **saved)


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
