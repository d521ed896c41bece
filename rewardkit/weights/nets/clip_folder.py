"""A folder that holds a CLIP of open_clip, or of transformers, read for open_clip.

`clip_layout` has the names of the tensors; this file has the sizes and the words.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rewardkit.errors import WeightsError, describe
from rewardkit.records.documents import read_json

if TYPE_CHECKING:
    import torch
    from transformers import CLIPConfig, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

Tokenize: TypeAlias = "Callable[[list[str]], torch.Tensor]"
OPEN_CLIP_CONFIG = "open_clip_config.json"
# transformers' "gelu" is the exact one, as torch's own.
_ACTIVATIONS = ("gelu", "quick_gelu")
# Configs of old versions name this end token, whatever the tokenizer's is. transformers knows, and
# then pools a text where its id is largest, as open_clip always does.
_OLD_END = 2


def read_folder(folder: Path) -> tuple[dict[str, Any], Tokenize]:
    """open_clip's config of the network in `folder`, and what cuts texts into its tokens.

    The tokens are `[len(texts), context length]`: cut there, the end token kept, and padded.

    Raises:
        WeightsError: a file is missing or not CLIP's, or open_clip has no such network.
    """
    clip, words = _config(folder), _words(folder)
    text, vision = clip.text_config, clip.vision_config
    assert not isinstance(text, dict | None) and not isinstance(vision, dict | None)
    _check(folder, text, vision, words)

    def tokenize(texts: list[str]) -> torch.Tensor:
        return words(
            texts,
            padding="max_length",
            max_length=text.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        ).input_ids

    config = {
        "embed_dim": clip.projection_dim,
        "quick_gelu": text.hidden_act == "quick_gelu",
        "vision_cfg": _tower(vision)
        | {
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
        },
        "text_cfg": _tower(text)
        | {
            "heads": text.num_attention_heads,
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
        },
    }
    return config, tokenize


def read_open_clip(folder: Path) -> tuple[dict[str, Any], Tokenize]:
    """open_clip's config of the network in `folder`, and what cuts texts into its tokens.

    Raises:
        WeightsError: the config is missing or damaged, or asks for a text tower or a tokenizer that
            is not open_clip's own.
    """
    from open_clip import SimpleTokenizer

    path = folder / OPEN_CLIP_CONFIG
    try:
        config = read_json(path)["model_cfg"]
        text = config["text_cfg"]
        foreign = {"hf_model_name", "hf_tokenizer_name", "tokenizer_mode"}.intersection(text)
        others = {"custom_text", "multimodal_cfg"}.intersection(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is no config of open_clip: {describe(error)}") from error
    if foreign or others:
        raise WeightsError(
            f"{path} is of a model that cannot be scored with here: it states "
            f"{', '.join(sorted(foreign | others))}. Accepted: open_clip's CLIP with its own text "
            "tower and tokenizer"
        )
    length = text.get("context_length", 77)
    return config, SimpleTokenizer(context_length=length, **text.get("tokenizer_kwargs", {}))


def _tower(config: CLIPTextConfig | CLIPVisionConfig) -> dict[str, Any]:
    return {
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        # open_clip rounds width * ratio down: half a unit more keeps it the number meant.
        "mlp_ratio": (config.intermediate_size + 0.5) / config.hidden_size,
        "norm_kwargs": {"eps": config.layer_norm_eps},
    }


def _check(
    folder: Path, text: CLIPTextConfig, vision: CLIPVisionConfig, words: CLIPTokenizer
) -> None:
    if text.hidden_act != vision.hidden_act or text.hidden_act not in _ACTIVATIONS:
        raise WeightsError(
            f"{folder / 'config.json'} asks for the activations {text.hidden_act} (text) and "
            f"{vision.hidden_act} (vision); open_clip takes {' or '.join(_ACTIVATIONS)}, the same "
            "for both"
        )
    last = text.vocab_size - 1
    if words.eos_token_id != last or text.eos_token_id not in (last, _OLD_END):
        raise WeightsError(
            f"{folder}: a text must end with the last token of the vocabulary, {last}, where "
            f"open_clip looks for it; it ends with {words.eos_token_id} in the tokenizer's files "
            f"and {text.eos_token_id} in config.json"
        )


def _config(folder: Path) -> CLIPConfig:
    from transformers import AutoConfig, CLIPConfig

    _find(folder, "config.json")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # what is wrong with a file has as many types as it has fields
        raise WeightsError(
            f"{folder / 'config.json'} is no config of transformers: {describe(error)[:300]}"
        ) from error
    if not isinstance(config, CLIPConfig):
        raise WeightsError(
            f"{folder / 'config.json'} is of a {config.model_type!r} model; 'clip' is accepted"
        )
    return config


def _words(folder: Path) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    # Without files transformers makes a tokenizer that knows no word, and says nothing.
    if not (folder / "tokenizer.json").is_file():
        _find(folder, "vocab.json")
        _find(folder, "merges.txt")
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # as above
        raise WeightsError(
            f"{folder} holds no tokenizer of CLIP: {describe(error)[:300]}"
        ) from error


def _find(folder: Path, file: str) -> None:
    if not (folder / file).is_file():
        raise WeightsError(
            f"there is no {file} in {folder}, beside the weights. Give the weights inside the "
            "whole folder that transformers' CLIPModel and CLIPTokenizer were saved to"
        )
