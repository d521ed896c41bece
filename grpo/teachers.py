"""LoRAs of teachers, as values of the LoRA in training: a policy can then run under them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from grpo.start import OTHER_KINDS
from rewardkit.errors import UsageError, WeightsError
from rewardkit.generators.exports import refuse_unfinished
from rewardkit.generators.folders import trained
from rewardkit.generators.lora import find_lora
from rewardkit.generators.lora_hub import lora_path
from rewardkit.generators.lora_settings import settings_beside
from rewardkit.generators.protocol import carried_card
from rewardkit.records.provenance import sha256_file
from rewardkit.weights.checkpoint import check_finite, read_state_dict

if TYPE_CHECKING:
    from grpo.policies.policy import Policy

_WRAPPED = re.compile(r"^(?:base_model\.model\.)+")
_ADAPTER = re.compile(r"(\.lora_[AB])\.\w+\.weight$")
_LAYER = re.compile(r"\.lora_[AB]\.weight$")


def teacher_values(policy: Policy, name: str, lora: str) -> dict[str, Tensor]:
    """The values under which the policy's LoRA is the teacher's, by the names of its parameters.

    A teacher of a lower rank is padded with zeros, a layer that it leaves alone gets zeros, and its
    scale alpha / rank is put into its second matrix.

    Args:
        policy: of one network, whose LoRA is trained.
        name: of the teacher.
        lora: a run's folder, or a file or folder as diffusers or peft saves it.

    Raises:
        UsageError: the policy has no such LoRA, or one of a lower rank or on fewer layers.
        WeightsError: the teacher's file is missing, damaged, in another layout, or for another
            model.
    """
    if len(policy.parts) > 1:
        raise UsageError(
            f"objective.teachers: the model has several networks to train, "
            f"{' and '.join(policy.parts)}, and a teacher is a LoRA of one"
        )
    file = _file(lora)
    tensors = _read(file, policy.parts[0])
    network: Any = policy.network
    settings = network.peft_config["default"]
    rank = max(t.shape[0] for key, t in tensors.items() if ".lora_A." in key)
    what = f"the teacher {name}, {file},"
    if rank > settings.r:
        raise UsageError(
            f"{what} has rank {rank}, and the LoRA in training has rank {settings.r}. Set "
            f"policy.rank to at least {rank}"
        )
    targets = {key.replace(".default.", "."): p for key, p in policy.parameters().items()}
    beyond = sorted({_LAYER.sub("", key) for key in tensors.keys() - targets.keys()})
    if beyond:
        raise UsageError(
            f"{what} is on {len(beyond)} layers on which the LoRA in training is not, such as "
            f"{beyond[0]}. Set policy.targets to all layers of the teachers, if they are of "
            "this model"
        )
    scale = _alpha(file, policy.parts[0], rank) / rank * settings.r / settings.lora_alpha
    values = {}
    for key, parameter in policy.parameters().items():
        given = tensors.get(key.replace(".default.", "."))
        tensor = torch.zeros(parameter.shape) if given is None else given.float()
        axis = 0 if ".lora_A." in key else 1
        lacking = parameter.shape[axis] - tensor.shape[axis]
        tensor = pad(tensor, [0, 0] * (tensor.ndim - 1 - axis) + [0, lacking])
        if tensor.shape != parameter.shape:
            raise WeightsError(
                f"{what} is for another model: {_LAYER.sub('', key)} has the shape "
                f"{list(tensor.shape)}, and here {list(parameter.shape)}"
            )
        values[key] = tensor * scale if axis == 1 else tensor
    return values


def teacher_record(lora: str) -> dict[str, Any]:
    """What a RunCard says of a teacher: its `source`, `sha256`, and what it was `trained_on`.

    Args:
        lora: as for `teacher_values`.

    Raises:
        WeightsError: there is no such file.
        InputError: the card in its folder cannot be read.
    """
    file = _file(lora)
    trained_on = carried_card(file.parent).get("trained_on")
    return {"source": str(file), "sha256": sha256_file(file), "trained_on": trained_on}


def _file(lora: str) -> Path:
    path = lora_path(lora)
    refuse_unfinished(path)
    return find_lora(trained(path))


def _read(file: Path, part: str) -> dict[str, Tensor]:
    """The tensors of a LoRA's file, by the names of layers in the network."""
    tensors = read_state_dict(file)
    check_finite(f"the LoRA {file}", tensors)
    found = {
        _ADAPTER.sub(r"\1.weight", _WRAPPED.sub("", key)).removeprefix(f"{part}."): tensor
        for key, tensor in tensors.items()
    }
    odd = [key for key in found if not _LAYER.search(key)]
    if odd or not found:
        raise WeightsError(
            f"the LoRA {file} is not in the layout of diffusers or peft, whose tensors are named "
            f"LAYER.lora_A.weight: {min(odd, default='it is empty')}. Load it with diffusers, and "
            "save it with save_lora_weights"
        )
    return found


def _alpha(file: Path, part: str, rank: int) -> float:
    """The alpha of a LoRA, as its file or the settings beside it say; else its rank."""
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        stated = (opened.metadata() or {}).get("lora_adapter_metadata")
    settings: Mapping[str, Any] = json.loads(stated) if stated is not None else {}
    settings = {key.removeprefix(f"{part}."): value for key, value in settings.items()}
    settings = settings or settings_beside(file, ()) or {}
    odd = [f"{key} {value}" for key in OTHER_KINDS if (value := settings.get(key))]
    if odd:
        raise WeightsError(
            f"the LoRA {file} has {', '.join(odd)[:200]}; a teacher has one rank and one alpha for "
            "all layers, and is scaled by alpha / rank. Train such a LoRA to be the teacher"
        )
    return float(settings.get("lora_alpha", rank))
