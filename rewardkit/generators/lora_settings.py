"""How a LoRA is scaled: what its file says of that, or the settings its trainer wrote beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rewardkit.errors import WeightsError, describe
from rewardkit.records.documents import read_json

PEFT = "adapter_config.json"
DANCE_GRPO = "lora_config.json"
# Of peft's settings, those whose effect on a model is more than the tensors of the LoRA itself.
_REFUSED = ("modules_to_save", "layer_replication", "target_parameters", "trainable_token_indices")


def own_settings(file: Path, names: Iterable[str]) -> bool:
    """Whether a LoRA's file says itself how it is scaled, as diffusers or as kohya-ss writes it."""
    return stated(file) or any(name.endswith(".alpha") for name in names)


def stated(file: Path) -> bool:
    """Whether a LoRA's file holds the settings it was trained with, as diffusers writes them."""
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return "lora_adapter_metadata" in (opened.metadata() or {})


def settings_beside(file: Path, modules: Iterable[str]) -> dict[str, Any] | None:
    """The arguments of peft's `LoraConfig` that a trainer wrote beside `file`; None of none.

    Args:
        file: the LoRA's.
        modules: the names of the modules it has tensors for.

    Raises:
        WeightsError: they cannot be read, or are not supported.
    """
    if (path := file.with_name(PEFT)).is_file():
        return _peft(path)
    if (path := file.with_name(DANCE_GRPO)).is_file():
        written = _read(path).get("lora_params")
        written = written if isinstance(written, dict) else {}
        rank, alpha = written.get("lora_rank"), written.get("lora_alpha")
        if not isinstance(rank, int) or not isinstance(alpha, int | float):
            raise WeightsError(
                f"{path} states no scale: expected lora_params with lora_rank and lora_alpha, as "
                "DanceGRPO writes them. Correct it, or move it away to load with a scale of 1"
            )
        return {"r": rank, "lora_alpha": alpha, "target_modules": sorted(set(modules))}
    return None


def _peft(path: Path) -> dict[str, Any]:
    from peft import LoraConfig

    written = _read(path)
    kind = written.pop("peft_type", "LORA")
    if kind != "LORA":
        raise WeightsError(f"{path} is of a {kind}; a LORA is accepted")
    known = {field.name for field in dataclasses.fields(LoraConfig) if field.init}
    # Releases of peft differ in their settings. One that is off does nothing.
    active = {name: value for name, value in written.items() if name in known or value}
    refused = [name for name in active if name not in known and name != "peft_version"]
    refused += [name for name in _REFUSED if active.get(name)]
    if active.get("bias", "none") != "none":
        refused.append("bias")
    # Others change the weights of the base.
    if active.get("init_lora_weights", True) not in (True, False, "gaussian"):
        refused.append("init_lora_weights")
    if refused:
        listed = ", ".join(f"{name} = {json.dumps(active[name])[:60]}" for name in sorted(refused))
        raise WeightsError(
            f"{path} has settings that are not supported: {listed}. Merge the LoRA into its model "
            "with peft's merge_and_unload, save the pipeline, and give that as the model"
        )
    settings = {name: value for name, value in active.items() if name in known}
    if "r" not in settings or "lora_alpha" not in settings:
        raise WeightsError(
            f"{path} lacks r or lora_alpha: expected what peft's save_pretrained wrote"
        )
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        written = read_json(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {describe(error)}. Save it again") from error
    if not isinstance(written, dict):
        raise WeightsError(f"{path} is not a JSON object. Save it again")
    return written
