"""What the model_config.json of a VideoAlign checkpoint says of how to compute with its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rewardkit.errors import WeightsError, describe
from rewardkit.records.documents import read_json

#: Of a checkpoint that holds its LoRA apart from the network.
LORA_FILE = "adapter_model.safetensors"
#: Mean and standard deviation by the name of a head.
Norms: TypeAlias = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class VideoAlignSettings:
    """What differs between checkpoints.

    Attributes:
        norms: of each head's output.
        lora_scale: what the product of the LoRA's matrices is multiplied by.
    """

    norms: Norms
    lora_scale: float


def read_settings(
    folder: Path, heads: Sequence[str], *, fps: float, area: int
) -> VideoAlignSettings:
    """The settings of a checkpoint, which says that it was made to be computed as here.

    Args:
        folder: holds model_config.json.
        heads: their names in it.
        fps: frames per second that are looked at.
        area: pixels of a frame, at most.

    Raises:
        WeightsError: the file is missing or damaged, or asks for another computation.
    """
    path = folder / "model_config.json"
    computed: dict[str, dict[str, Any]] = {
        "data_config": {
            "fps": fps,
            "num_frames": None,
            "max_frame_pixels": area,
            "sample_type": "uniform",
            "prompt_template_type": "detailed_special",
        },
        "model_config": {"output_dim": len(heads), "use_special_tokens": True},
    }
    try:
        stated: dict[str, Any] = read_json(path)
        for part, values in computed.items():
            for key, value in values.items():
                if stated[part][key] != value:
                    raise WeightsError(
                        f"{path} states {key} = {stated[part][key]!r}; VideoAlign is computed here "
                        f"with {value!r} only"
                    )
        numbers = stated["inference_config"]
        norms = {n: (float(numbers[f"{n}_mean"]), float(numbers[f"{n}_std"])) for n in heads}
        lora = stated["peft_lora_config"]
        scale = 1.0
        if lora["lora_enable"]:
            rank = lora["lora_r"]
            scale = lora["lora_alpha"] / (math.sqrt(rank) if lora.get("use_rslora") else rank)
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise WeightsError(
            f"{path} does not describe a VideoAlign checkpoint: {describe(error)}. Download it "
            "again, or give the file of the run that made the weights"
        ) from error
    return VideoAlignSettings(norms, scale)
