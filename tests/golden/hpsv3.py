"""The golden file of HPS v3: its own code on a small random checkpoint in its own layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from golden.cases import FOLDER
from golden.prompted import fill
from pictures import PROMPTS
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save_file

FILE = FOLDER / "hpsv3.json"
#: Height and width of pictures that are enlarged, shrunk, thin, and of a whole size already.
SIZES = [(48, 64), (481, 639), (32, 360), (448, 448), (777, 333)]
TEXTS = [PROMPTS[1], "{braces} and  two spaces \n", PROMPTS[3], PROMPTS[4], "word " * 40]
#: The published network: config.json of Qwen/Qwen2-VL-7B-Instruct.
PUBLISHED: dict[str, Any] = {
    **{"vocab_size": 152_064, "hidden_size": 3584, "intermediate_size": 18_944},
    **{"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4},
    **{"rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": False},
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16},
}
ROWS = 151_658  # of its embedding: Qwen2-VL's tokens and one more


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PictureCase(_Model):
    """A picture of one of `SIZES` with its text, on the way to its score."""

    grid: list[int]
    pixels: list[float]  # see `golden.videoalign.some`
    outputs: list[float]  # mean and deviation
    other_prompt: list[float]  # of the text "something else"


class HpsV3Golden(_Model):
    """What upstream's own code computes."""

    upstream: str
    command: str
    versions: dict[str, str]
    template_sha256: str
    tensors: dict[str, list[int]]  # of the checkpoint that `write_checkpoint` writes
    layout: str  # of the published size, as `golden.prompted.layout` has it
    bytes: int  # of the tensors of the published size, the head in float32, the rest bfloat16
    cases: list[PictureCase]
    ids: list[list[int]]  # of all cases in one batch, padded
    batch: list[list[float]]  # mean and deviation, of all cases in one batch


def load() -> HpsV3Golden:
    """The golden file."""
    return HpsV3Golden.model_validate_json(FILE.read_bytes())


def write_checkpoint(file: Path, tensors: dict[str, list[int]]) -> None:
    """A checkpoint in upstream's layout, with numbers that depend on names and shapes alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(fill({name: torch.empty(shape) for name, shape in tensors.items()}), file)
