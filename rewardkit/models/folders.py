"""Pipelines in diffusers' layout: downloaded, read with no tensor missing, given a LoRA."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.errors import RewardKitError, UsageError, WeightsError, describe
from rewardkit.models.families import family
from rewardkit.models.protocol import CARD, carried_card

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
LORA = "pytorch_lora_weights.safetensors"


def download(repo: str, revision: str | None) -> Path:
    """The snapshot of a repository in the hub's cache; the folder's name is the commit.

    Raises:
        UsageError: it is of a class that cannot be sampled here.
        WeightsError: it is not on this machine and cannot be downloaded.
    """
    from diffusers import DiffusionPipeline
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        # The index comes first: of what cannot be sampled, no gigabytes are fetched.
        folder = Path(hf_hub_download(repo, INDEX, revision=revision)).parent
        DiffusionPipeline.download(
            repo,
            revision=folder.name,
            local_files_only=constants.HF_HUB_OFFLINE,
            **_settings(folder, repo),
        )
        with suppress(EntryNotFoundError):
            hf_hub_download(repo, CARD, revision=folder.name)
    except RewardKitError:
        raise
    except Exception as error:  # the hub's client, its HTTP library and the disk have their own
        raise WeightsError(
            f"the pipeline {repo} is not on this machine and could not be downloaded: "
            f"{_cause(error)}. Where its licence must be accepted, do so on its page, then "
            "run: hf auth login. Without a network, give a folder instead"
        ) from error
    return folder


def read(folder: Path, dtype: torch.dtype, exact: Collection[str] = ("vae",)) -> Any:
    """The pipeline in `folder`, on the CPU; every tensor of it is from a file.

    Args:
        folder: in diffusers' layout.
        dtype: of its networks.
        exact: the parts that are in float32 all the same.

    Raises:
        UsageError: it is of a class that cannot be sampled here.
        WeightsError: files are missing, damaged, or do not fit.
    """
    import torch
    from diffusers import DiffusionPipeline

    settings = _settings(folder, str(folder))
    dtypes = {"default": dtype, **{part: torch.float32 for part in exact if part in _index(folder)}}
    for part, entry in _index(folder).items():
        wanted = isinstance(entry, list) and entry[0] is not None and part not in settings
        if wanted and not (folder / part).is_dir():
            raise WeightsError(
                f"the pipeline in {folder} lacks its folder {part}. Download or save it again"
            )
    try:
        with quiet():
            encoders = _text_encoders(folder, dtype)
            loader: Any = DiffusionPipeline  # its from_pretrained comes without types
            pipe = loader.from_pretrained(folder, dtype=dtypes, **settings, **encoders)
    except RewardKitError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as it has readers
        raise WeightsError(
            f"the pipeline in {folder} cannot be loaded: {_cause(error)}. Download or save it again"
        ) from error
    for part, module in pipe.components.items():
        if isinstance(module, torch.nn.Module):
            # diffusers leaves a tensor that no file holds without memory, and only warns.
            missing = [name for name, tensor in module.named_parameters() if tensor.is_meta]
            _refuse_gaps(folder / part, missing)
    return pipe


def trained(path: Path) -> Path:
    """Where what was trained lies: the folder `model` of a run's folder, or `path` itself."""
    inside = path / "model"
    return inside if (inside / LORA).is_file() or (inside / INDEX).is_file() else path


def whole_pipeline(path: Path, source: str) -> Path | None:
    """The pipeline in `path`, where a run that trained all weights left one; None of a LoRA.

    Raises:
        UsageError: it was made of another model than `source`.
    """
    if not (path / INDEX).is_file():
        return None
    base = carried_card(path).get("base")
    made_of = base.get("source") if isinstance(base, dict) else None
    if made_of is not None and made_of != source:
        raise UsageError(f"{path} was made of {made_of}, not of {source}: name that model")
    return path


def add_lora(pipe: Any, path: Path) -> Path:
    """Adds the LoRA at `path`, a safetensors file or a folder that holds one, to a pipeline.

    Returns:
        The file.

    Raises:
        WeightsError: there is none, or nothing of it fits the pipeline.
    """
    file = path / LORA if path.is_dir() else path
    if file.suffix != ".safetensors" or not file.is_file():
        raise WeightsError(
            f"{path} holds no LoRA: expected a .safetensors file, a folder with {LORA}, or that of "
            "a run which has been saved"
        )
    try:
        with quiet():
            pipe.load_lora_weights(file.parent, weight_name=file.name)
    except Exception as error:  # diffusers, peft and safetensors each have their own
        raise WeightsError(
            f"the LoRA {file} does not fit a {type(pipe).__name__}: {_cause(error)}"
        ) from error
    # Where names match no module, diffusers warns and goes on.
    if not pipe.get_list_adapters():
        raise WeightsError(
            f"the LoRA {file} is for another model: none of its tensors is for a part of a "
            f"{type(pipe).__name__}"
        )
    return file


def _settings(folder: Path, source: str) -> dict[str, Any]:
    """What `from_pretrained` needs to be told: the family's settings, and which parts are absent.

    An index says null for a part that a pipeline was saved without, such as T5 in SD3, but
    `from_pretrained` then still asks for the part, unless None is given in its place.
    """
    index = _index(folder)
    absent = {part: None for part, entry in index.items() if entry == [None, None]}
    return absent | family(str(index.get("_class_name")), source).settings


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise WeightsError(
            f"{folder} is not a pipeline in diffusers' layout: it has no {INDEX}. Give the folder "
            "that save_pretrained wrote"
        )
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {describe(error)}. Save it again") from error


def _text_encoders(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The text encoders by part; transformers would fill what no file holds with random numbers."""
    import transformers

    encoders = {}
    for part, entry in _index(folder).items():
        if part.startswith("text_encoder") and entry[0] == "transformers":
            network = getattr(transformers, entry[1])
            encoders[part], told = network.from_pretrained(
                folder / part, dtype=dtype, output_loading_info=True
            )
            _refuse_gaps(folder / part, sorted(told["missing_keys"]))
    return encoders


def _cause(error: Exception) -> str:
    return describe(error)[:300].rstrip(".")


def _refuse_gaps(folder: Path, missing: list[str]) -> None:
    if missing:
        more = ", …" if len(missing) > 5 else ""
        raise WeightsError(
            f"{folder} lacks {len(missing)} tensors: {', '.join(missing[:5])}{more}. Download or "
            "save it again"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Turns off bars that would be drawn over the caller's own, and remarks of diffusers.

    It remarks on what is meant so: on a part that a pipeline is without, on encoders that a LoRA
    does not touch.
    """
    import diffusers.utils.logging
    import transformers.utils.logging

    verbosity = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    loud = [
        library
        for library in (diffusers.utils.logging, transformers.utils.logging)
        if library.is_progress_bar_enabled()
    ]
    for library in loud:
        library.disable_progress_bar()
    try:
        yield
    finally:
        diffusers.utils.logging.set_verbosity(verbosity)
        for library in loud:
            library.enable_progress_bar()
