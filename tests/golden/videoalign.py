"""The golden file of VideoAlign: its own code on a small random checkpoint in its own layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from golden.cases import FOLDER
from golden.prompted import fill
from pictures import PROMPTS
from pydantic import BaseModel, ConfigDict

from rewardkit.weights.nets.qwen2_vl_tiny import SPECIAL, tiny_settings, tiny_words

FILE = FOLDER / "videoalign.json"
#: Clips as `golden.media` renders them: no even number of frames, ties of rounding, few frames,
#: frames that are enlarged, shrunk, thin and of a whole size already.
CLIPS: list[dict[str, Any]] = [
    {"kind": "clip", "seed": 1, "size": [48, 64], "frames": 20, "fps": 8.0, "velocity": [2, 0]},
    {"kind": "clip", "seed": 2, "size": [336, 308], "frames": 53, "fps": 16.0, "flicker": 9},
    {"kind": "clip", "seed": 3, "size": [481, 639], "frames": 13, "fps": 30.0, "velocity": [0, 3]},
    {"kind": "clip", "seed": 4, "size": [32, 360], "frames": 3, "fps": 8.0},
    {"kind": "clip", "seed": 5, "size": [120, 90], "frames": 2, "fps": 24.0, "shake": 5},
]
TEXTS = [PROMPTS[1], "{braces} and  two spaces \n", PROMPTS[3], PROMPTS[4], "word " * 40]
LORA = {"lora_enable": True, "lora_r": 4, "lora_alpha": 8, "vision_lora": False}
STEP = "checkpoint-11352"
#: The published network: config.json of Qwen/Qwen2-VL-2B-Instruct.
PUBLISHED: dict[str, Any] = {
    **{"vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960},
    **{"num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2},
    **{"rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": True},
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16},
}
ROWS = 151_660  # of its embedding: Qwen2-VL's tokens and three more


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Scored(_Model):
    """What upstream says of one clip alone."""

    raw: list[float]  # VQ, MQ, TA
    normed: list[float]  # and Overall


class Case(Scored):
    """One of `CLIPS` with its text, on the way to its scores."""

    indices: list[int]
    grid: list[int]
    pixels: list[float]  # see `some`
    other_prompt: list[float]  # raw, of the text "something else"


class Sampling(_Model):
    """Which frames of a clip upstream looks at; an error is its text."""

    frames: int
    fps: float
    indices: list[int]
    error: str | None = None


class Sized(_Model):
    """A frame's height and width before and after upstream's resize."""

    before: list[int]
    after: list[int]


class File(Scored):
    """A file as upstream decodes it with decord."""

    frames: int
    fps: float
    indices: list[int]
    pixels: list[float]


class Golden(_Model):
    """What upstream's own code computes."""

    upstream: str
    command: str
    versions: dict[str, str]
    template_sha256: str
    tensors: dict[str, list[int]]  # of the checkpoint that `write_checkpoint` writes
    layout: str  # of the published size, as `golden.prompted.layout` has it
    bytes: int  # of the tensors of the published size in bfloat16
    cases: list[Case]
    ids: list[list[int]]  # of all cases in one batch, padded
    batch: list[list[float]]  # raw, of all cases in one batch
    samplings: list[Sampling]
    sizes: list[Sized]
    files: dict[str, File]  # the real clips of the folder REWARDKIT_TEST_DATA


def load() -> Golden:
    """The golden file."""
    return Golden.model_validate_json(FILE.read_bytes())


def some(patches: torch.Tensor) -> list[float]:
    """Some of the network's input `[N, 1176]`."""
    return [round(value, 6) for value in patches[::97, ::211].flatten().tolist()]


def upstream_names(shapes: Mapping[str, list[int]], rank: int) -> dict[str, list[int]]:
    """The tensors of model.pth, given those of a `Qwen2VLModel`: names and shapes."""
    names: dict[str, list[int]] = {}
    for name, shape in shapes.items():
        inside = name.replace("language_model.", "model.", 1)
        stem, _, kind = f"base_model.model.{inside}".rpartition(".")
        if not stem.endswith("_proj") or "visual" in stem:
            names[f"{stem}.{kind}"] = shape
            continue
        names[f"{stem}.base_layer.{kind}"] = shape
        if kind == "weight":
            names[f"{stem}.lora_A.default.weight"] = [rank, shape[1]]
            names[f"{stem}.lora_B.default.weight"] = [shape[0], rank]
    embedding = shapes["language_model.embed_tokens.weight"]
    names["base_model.model.lm_head.weight"] = embedding
    names["base_model.model.rm_head.weight"] = [3, embedding[1]]
    return names


def write_base(folder: Path, template: str) -> dict[str, Any]:
    """The config of the small network, and the files of its tokenizer; returns the config."""
    vocab, merges = tiny_words(template)
    settings = tiny_settings(len(vocab))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(settings), "utf-8")
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    added = {
        str(len(vocab) + index): {
            "content": token,
            **dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False),
            "special": True,
        }
        for index, token in enumerate(SPECIAL)
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "Qwen2Tokenizer",
                "added_tokens_decoder": added,
                "pad_token": SPECIAL[0],
                "eos_token": SPECIAL[2],
                "unk_token": None,
            }
        ),
        "utf-8",
    )
    return settings


def write_checkpoint(folder: Path, base: str, tensors: dict[str, list[int]]) -> None:
    """A checkpoint in upstream's layout, with numbers that depend on names and shapes alone."""
    (folder / STEP).mkdir(parents=True)
    state = fill({name: torch.empty(shape) for name, shape in tensors.items()})
    # One tensor under two names: what is loaded last counts for both.
    state["base_model.model.lm_head.weight"] = state["base_model.model.model.embed_tokens.weight"]
    torch.save(state, folder / STEP / "model.pth")
    write_settings(folder, base, **LORA)


def write_settings(folder: Path, base: str, **lora: Any) -> None:
    """The model_config.json of a checkpoint."""
    settings = {
        "data_config": {
            "meta_data": "",
            "data_dir": "",
            "max_frame_pixels": 200_704,
            "num_frames": None,
            "fps": 2.0,
            "p_shuffle_frames": 0.0,
            "p_color_jitter": 0.0,
            "eval_dim": ["VQ", "MQ", "TA"],
            "prompt_template_type": "detailed_special",
            "add_noise": False,
            "sample_type": "uniform",
            "use_tied_data": True,
        },
        "training_args": {},
        "model_config": {
            "model_name_or_path": base,
            "output_dim": 3,
            "use_special_tokens": True,
            "reward_token": "special",
            "torch_dtype": "float32",
            "loss_type": "btt",
        },
        "peft_lora_config": {
            "lora_enable": True,
            **lora,
            "lora_namespan_exclude": ["lm_head", "rm_head", "embed_tokens", "visual"],
        },
        "inference_config": {
            **{"VQ_mean": 3.6757, "VQ_std": 2.2476, "MQ_mean": 1.1646, "MQ_std": 1.3811},
            **{"TA_mean": 2.8105, "TA_std": 2.5121},
        },
    }
    (folder / "model_config.json").write_text(json.dumps(settings, indent=1), "utf-8")
