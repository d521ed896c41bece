"""What was trained, saved as plain diffusers loads it: a LoRA, or a pipeline with all weights."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from grpo.policies.policy import Policy
from grpo.sharding import unsharded
from rewardkit.errors import InputError, describe
from rewardkit.generators.lora import LORA
from rewardkit.generators.protocol import CARD
from rewardkit.records.storage import atomic_write, write_json
from rewardkit.weights.quiet import quiet

# The files that are read where no variant, such as fp16, is asked for.
_WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(-\d+-of-\d+)?\.(safetensors|bin)"
)


def export(policy: Policy, folder: Path, run_card: Mapping[str, Any]) -> None:
    """Saves what was trained as plain diffusers loads it, whole or not at all.

    A LoRA becomes one file, for the base pipeline's `load_lora_weights`; all weights become a
    pipeline, for `from_pretrained`. Beside them is `rewardkit.json`, the run card with the protocol
    of the run. All of it is made in a hidden folder, which then takes the place of `folder`.

    Raises:
        InputError: the disk does not take it; what was there before is as it was.
    """
    from safetensors import SafetensorError

    weights = _weights(policy)
    if not policy.world.first:
        return
    new, old = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
    try:
        for left in (new, old):  # of an export that was killed
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        _save(policy, weights, new)
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


def _weights(policy: Policy) -> dict[str, dict[str, Any]]:
    """The trained tensors of each network, whole; processes that share them out all call it."""
    return {
        part: policy.world.whole(
            {n: t for n, t in network.state_dict().items() if "lora_" in n or not policy.adapted}
        )
        for part, network in policy.networks.items()
    }


def _save(policy: Policy, weights: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """The files of an export, but for its card."""
    from peft import get_peft_model_state_dict

    pipe: Any = policy.pipeline.diffusers
    if not policy.adapted:
        trained = {
            part: unsharded(network, weights[part]) for part, network in policy.networks.items()
        }
        save_whole(pipe, trained, policy.pipeline.folder, folder)
        return
    saved: dict[str, Any] = {}
    networks: Mapping[str, Any] = policy.networks
    for part, network in networks.items():
        settings = network.peft_config["default"]
        saved[f"{part}_lora_layers"] = get_peft_model_state_dict(network, weights[part])
        # Without it, alpha would be taken for the rank. The rest of the settings would be refused
        # by releases of peft that lack one of them.
        saved[f"{part}_lora_adapter_metadata"] = {
            "r": settings.r,
            "lora_alpha": settings.lora_alpha,
            "target_modules": sorted(settings.target_modules),
        }
    with quiet():  # for the bars: saving warns of no tensor
        pipe.save_lora_weights(folder, weight_name=LORA, **saved)


def save_whole(pipe: Any, trained: Mapping[str, Any], source: Path | None, folder: Path) -> None:
    """Writes a pipeline as plain diffusers loads it.

    Frozen networks may be in low precision in memory, so their files are copied.

    Args:
        pipe: of diffusers.
        trained: the parts that were trained, by name; they are saved from memory.
        source: the folder that the pipeline was loaded from. What it has no files of, or where it
            is None, is saved from memory too, in the dtype it has there.
        folder: where it goes.
    """
    with quiet():  # for the bars: saving warns of no tensor
        for name, component in {**pipe.components, **trained}.items():
            if component is None:
                continue
            frozen = isinstance(component, nn.Module) and name not in trained and source is not None
            files = _files(source / name) if frozen and source is not None else []
            if not files:
                component.save_pretrained(folder / name)
            for file in files:
                with atomic_write(folder / name / file.name) as temporary:
                    shutil.copyfile(file, temporary)
        pipe.save_config(folder)


def _files(folder: Path) -> list[Path]:
    """The weights in a folder, in one format, and their settings; nothing without weights."""
    if not folder.is_dir():
        return []
    found = [path for path in sorted(folder.iterdir()) if path.is_file()]
    weights = [path for path in found if _WEIGHTS.fullmatch(path.name)]
    safe = [path for path in weights if path.suffix == ".safetensors"]
    chosen = safe or weights
    return [*chosen, *(path for path in found if path.suffix == ".json")] if chosen else []
