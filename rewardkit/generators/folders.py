"""Pipelines in diffusers' layout: downloaded, and read with no tensor missing or left over."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.errors import RewardKitError, UsageError, WeightsError, describe
from rewardkit.generators.families import family
from rewardkit.generators.lora import LORA, PEFT_LORA
from rewardkit.generators.protocol import CARD, carried_card
from rewardkit.records.documents import read_json
from rewardkit.weights.checkpoint import cause, check_finite
from rewardkit.weights.pretrained import check_report, refuse_code, refuse_gaps
from rewardkit.weights.quiet import quiet, without_retries

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
# The names diffusers and transformers give to weights; a variant stands before the last dot, or
# before the number of a file of several.
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)(?:\.([\w-]+?))?"
    r"(?:-\d+-of-\d+)?\.(?:safetensors|bin)"
)

# What an index says of a part; of one that is absent, null twice.
_PART = ([str, str], [type(None), type(None)])


def download(repo: str, revision: str | None, without: Collection[str] = ()) -> Path:
    """The snapshot of a repository in the hub's cache; the folder's name is the commit.

    Args:
        repo: owner/name.
        revision: commit, tag or branch; None is the newest commit.
        without: parts that are not needed.

    Raises:
        UsageError: it is of a class that cannot be sampled here.
        WeightsError: it is not on this machine and cannot be downloaded.
    """
    from diffusers import DiffusionPipeline
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        with without_retries():
            # The index comes first: of what cannot be sampled, no gigabytes are fetched.
            folder = Path(hf_hub_download(repo, INDEX, revision=revision)).parent
            DiffusionPipeline.download(
                repo,
                revision=folder.name,
                local_files_only=constants.HF_HUB_OFFLINE,
                **_settings(folder, repo),
                **dict.fromkeys(without),
            )
            with suppress(EntryNotFoundError):
                hf_hub_download(repo, CARD, revision=folder.name)
    except RewardKitError:
        raise
    except Exception as error:  # the hub's client, its HTTP library and the disk have their own
        raise WeightsError(
            f"the pipeline {repo} is not on this machine and could not be downloaded: "
            f"{cause(error)}. Where its licence must be accepted, do so on its page, then "
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
        if wanted:
            refuse_code(folder / part)
    try:
        # What this silences on tensors is judged by `check_report`, part by part.
        with quiet():
            parts = _networks(folder, dtypes, settings)
            loader: Any = DiffusionPipeline  # its from_pretrained comes without types
            pipe = loader.from_pretrained(folder, dtype=dtypes, **settings, **parts)
    except RewardKitError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as it has readers
        raise WeightsError(
            f"the pipeline in {folder} cannot be loaded: {cause(error)}. Download or save it again"
        ) from error
    for part, module in pipe.components.items():
        if isinstance(module, torch.nn.Module):
            # diffusers leaves a tensor that no file holds without memory, and only warns.
            missing = [name for name, tensor in module.named_parameters() if tensor.is_meta]
            refuse_gaps(folder / part, missing)
            check_finite(str(folder / part), dict(module.named_parameters()))
    return pipe


def missing_folder(source: str | Path, what: str = "folder") -> UsageError:
    """The error for a path where there is nothing, with the nearest names beside it."""
    path = Path(source)
    beside = path.parent
    if not beside.is_dir():
        return UsageError(f"there is no {what} {source}, nor a folder {beside}")
    names = sorted(p.name for p in beside.iterdir())
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    hint = f"; there is {' and '.join(str(beside / name) for name in near)}" if near else ""
    return UsageError(f"there is no {what} {source}{hint}")


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
    if made_of is not None and Path(made_of).resolve() != Path(source).resolve():
        raise UsageError(f"{path} was made of {made_of}, not of {source}: name that model")
    return path


def _settings(folder: Path, source: str) -> dict[str, Any]:
    """The options of `from_pretrained`: the family's settings, and which parts are absent.

    An index says null for a part that a pipeline was saved without, such as T5 in SD3, but
    `from_pretrained` then still asks for the part, unless None is given in its place.
    """
    index = _index(folder)
    absent = {part: None for part, entry in index.items() if entry == [None, None]}
    return {**absent, **family(str(index.get("_class_name")), source).settings}


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise WeightsError(f"{folder} is not a pipeline in diffusers' layout: {_instead(folder)}")
    try:
        index = read_json(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {describe(error)}. Save it again") from error
    parts = index.items() if isinstance(index, dict) else [("", index)]
    for part, entry in parts:
        if not part or (
            # Settings stand beside parts; a list is a part: its library and its class.
            isinstance(entry, list)
            and not part.startswith("_")
            and [type(name) for name in entry] not in _PART
        ):
            raise WeightsError(
                f"{path} is not an index of a pipeline: expected an object that gives a library "
                f"and a class for each part; {part + ' is ' if part else 'it holds '}"
                f"{json.dumps(entry)[:60]}. Save it again"
            )
    return dict(index)


def _instead(path: Path) -> str:
    """What was given in place of a pipeline's folder, and what to do."""
    if path.suffix in (".safetensors", ".ckpt") and path.is_file():
        return (
            "it is one file. Convert it once, where the hub can be reached for the model's other "
            'files: python -c "from diffusers import StableDiffusionPipeline as P; '
            f"P.from_single_file('{path}').save_pretrained('FOLDER')\" with the class that fits "
            "the model, then give FOLDER"
        )
    inside = path / "model" if (path / "model").is_dir() else path
    base = carried_card(inside).get("base")
    source = base.get("source") if isinstance(base, dict) else None
    model = source if isinstance(source, str) else "MODEL"
    if inside != path and (inside / CARD).is_file():
        made = f"what a run of grpo train made of {model}"
    elif any((inside / file).is_file() for file in (LORA, PEFT_LORA)):
        made = f"a LoRA of {model}"
    else:
        return f"it has no {INDEX}. Give the folder that save_pretrained wrote"
    return f"it is {made}. Give {model} as the model, and --tuned {path}"


def _networks(
    folder: Path, dtypes: dict[str, torch.dtype], settings: dict[str, Any]
) -> dict[str, Any]:
    """The networks by part, of which every tensor is from a file and every tensor is used."""
    import diffusers
    import transformers

    networks = {}
    for part, entry in _index(folder).items():
        if not isinstance(entry, list) or part in settings:
            continue
        library: Any = {"diffusers": diffusers, "transformers": transformers}.get(entry[0])
        kind = getattr(library, str(entry[1]), None)
        if kind is None or not issubclass(
            kind, diffusers.ModelMixin | transformers.PreTrainedModel
        ):
            continue
        # With the first transformers names a misshapen tensor in its report instead of its log.
        options = {"ignore_mismatched_sizes": True, "trust_remote_code": False}
        try:
            networks[part], report = kind.from_pretrained(
                folder / part,
                dtype=dtypes.get(part, dtypes["default"]),
                variant=_variant(folder / part),
                output_loading_info=True,
                **(options if library is transformers else {}),
            )
        except RewardKitError:
            raise
        except Exception as error:  # a damaged file fails in as many ways as it has readers
            raise WeightsError(
                f"{folder / part} cannot be loaded: {cause(error)}. Download or save it again"
            ) from error
        check_report(folder / part, report)
    return networks


def _variant(folder: Path) -> str | None:
    """The variant, such as fp16, of a folder that holds no other weights."""
    found = {m[1] for path in folder.iterdir() if (m := _WEIGHTS.fullmatch(path.name))}
    if len(found) > 1 and None not in found:
        raise WeightsError(
            f"{folder} holds the variants {', '.join(sorted(v for v in found if v))}, and no other "
            "weights. Leave one of them there"
        )
    return None if None in found or not found else found.pop()
