"""Generators: load a diffusers pipeline by name, sample it with prompts and random seeds.

    pipeline = load("sd1.4")
    for medium in generate(pipeline, [Request("a red ring", seed=0)]): ...

`generate` is the one loop that makes media: what is shown, benchmarked and compared comes from
it. The schedulers are the pipelines' own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from rewardkit.devices import pick_device, pick_dtype
from rewardkit.errors import UsageError, WeightsError, unknown
from rewardkit.extras import require
from rewardkit.generators.aliases import ALIASES, Alias
from rewardkit.generators.arguments import (
    call_arguments,
    check_protocol,
    check_references,
    default_protocol,
    reference_arguments,
    text_arguments,
)
from rewardkit.generators.decoding import decode
from rewardkit.generators.exports import refuse_unfinished
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.folders import (
    download,
    missing_folder,
    read,
    trained,
    whole_pipeline,
)
from rewardkit.generators.joining import joined
from rewardkit.generators.lora import add_lora
from rewardkit.generators.lora_hub import lora_path
from rewardkit.generators.protocol import Protocol, carried_card, carried_protocol
from rewardkit.generators.requests import Request, check_requests
from rewardkit.weights.client import can_be_repo

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from rewardkit.media.batch import Medium
    from rewardkit.media.task import Task

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@final
@dataclass(frozen=True)
class Pipeline:
    """A generator that is loaded: diffusers' object, where it is from, and its protocol.

    Attributes:
        diffusers: the pipeline, of the class its model_index.json names.
        source: a repository on the hub, a folder, or package:NAME/FOLDER.
        alias: its name here, where it has one.
        revision: commit of the repository; None for a folder.
        tuned: the trained weights that are loaded: a LoRA's file, or a folder with all weights.
        trained_on: what it was trained on, as the run recorded it: reward, prompts, weights.
        protocol: what it is sampled with by default.
        dtype: of its networks; its VAE is in float32, as it is in training.
        folder: where its files are on this machine; None where it was made in memory.
        parts: what is from another repository, as REPOSITORY@COMMIT by the part's name.
    """

    diffusers: DiffusionPipeline
    source: str
    alias: str | None
    revision: str | None
    tuned: Path | None
    trained_on: Mapping[str, Any] | None
    protocol: Protocol
    dtype: str = "float32"
    folder: Path | None = None
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What it is asked to make."""
        return FAMILIES[type(self.diffusers).__name__].task

    def provenance(self) -> dict[str, Any]:
        """What makes its media, but for prompts, seeds and protocol; for JSON."""
        pipe: Any = self.diffusers
        scheduler = {k: v for k, v in pipe.scheduler.config.items() if not k.startswith("_")}
        return {
            "model": {"source": self.source, "alias": self.alias, "revision": self.revision},
            "lora": None if self.tuned is None else str(self.tuned),
            "trained_on": self.trained_on,
            "scheduler": {"class": type(pipe.scheduler).__name__, **scheduler},
            "dtype": self.dtype,
            # Earlier releases decoded in low precision: what they made must not be mixed with
            # this.
            **({} if self.dtype == "float32" else {"decoded": "float32"}),
            **({"parts": dict(self.parts)} if self.parts else {}),
        }


def load(
    source: str | Path,
    *,
    device: str = "auto",
    dtype: str | None = None,
    revision: str | None = None,
    tuned: str | Path | None = None,
    exact: Collection[str] = (),
) -> Pipeline:
    """The generator at `source`, ready to be sampled.

    Its protocol is, first found: what the folder of the tuned weights carries, what its own folder
    carries, the alias's, the defaults of its pipeline class.

    Args:
        source: an alias (`rewardkit pipelines` lists them), owner/name on the hub, or a folder in
            diffusers' layout. A folder goes first where it is written as a path, and a name is not
            looked for on the hub where its owner is the name of a folder here.
        device: "auto" is a CUDA device, Apple's, or the CPU, the first there is.
        dtype: of the networks, whatever the files hold; None is the alias's, else float32. The VAE
            and layers that their authors keep in float32 are always in it.
        revision: commit, tag or branch on the hub. Without it, an alias means its pinned commit,
            owner/name the newest.
        tuned: trained weights: a run's folder, a LoRA's file, a folder in which a trainer left one
            (`rewardkit.generators.lora.find_lora`), or owner/name on the hub, optionally with
            `@REVISION` and `:FILE`.
        exact: further parts to load in float32, by their names in the pipeline.

    Raises:
        UsageError: nothing has this name, or its pipeline class cannot be sampled here.
        WeightsError: files are missing, cannot be downloaded, or do not fit.
        MissingPackage: the extra `generate` is not installed.
    """
    require("generate", "loading a generator")
    alias, place = place_of(source)
    if isinstance(place, Path) and revision is not None:
        raise UsageError(f"a revision belongs to a repository on the hub; {source} is a folder")
    dtype = dtype or (alias.dtype if alias else "float32")
    target, number = pick_device(device), pick_dtype(dtype)
    pinned = alias.revision if alias else None
    path_of_tuned = None if tuned is None else lora_path(tuned)
    if path_of_tuned is not None and not path_of_tuned.exists():
        raise missing_folder(path_of_tuned, "run or LoRA")
    for path in (place, path_of_tuned):
        if isinstance(path, Path):
            refuse_unfinished(path)
    weights = None if path_of_tuned is None else trained(path_of_tuned)
    named = alias.source if alias else str(place)
    whole = whole_pipeline(weights, named) if weights is not None else None
    base = whole or place
    others = alias.parts if alias and whole is None else {}
    folder = base if isinstance(base, Path) else download(base, revision or pinned, others)
    commit = folder.name
    parts: Mapping[str, str] = {}
    if alias and others:
        folder, parts = joined(folder, alias.pipeline, others)
    pipe = read(folder, number, ("vae", *exact))
    # The warning about float16 on CPUs does not matter where another device samples.
    pipe.to(target, silence_dtype_warnings=True)
    pipe.set_progress_bar_config(disable=True)
    added = add_lora(pipe, weights) if weights is not None and whole is None else None
    beside = added.parent if added else folder
    protocol = (
        carried_protocol(beside)
        or carried_protocol(folder)
        or (alias.protocol if alias else None)
        or default_protocol(pipe)
    )
    check_protocol(pipe, protocol)
    return Pipeline(
        diffusers=pipe,
        source=named,
        alias=alias.name if alias else None,
        revision=None if isinstance(base, Path) else commit,
        tuned=added or whole,
        trained_on=carried_card(beside).get("trained_on"),
        protocol=protocol,
        dtype=dtype,
        folder=folder,
        parts=parts,
    )


def generate(
    pipeline: Pipeline,
    requests: Sequence[Request],
    *,
    protocol: Protocol | None = None,
    batch_size: int = 4,
    embed: Callable[[Sequence[Request]], Mapping[str, Any]] | None = None,
) -> Iterator[Medium]:
    """The medium of each request, in order: a clip, or a uint8 `[3, H, W]` tensor on the CPU.

    The noise of a sample is drawn on the CPU from its seed alone, so a medium depends neither on
    the batch it was made in nor, beyond rounding, on the device. Floats are rounded as saving a PNG
    rounds them.

    Args:
        pipeline: what `load` gave.
        requests: what is to be made.
        protocol: instead of the pipeline's own.
        batch_size: requests sampled at once, which memory bounds.
        embed: gives the embeddings of a batch of requests, also of the negative prompt where there
            is guidance, as arguments of the pipeline's call; None is the pipeline's own text
            encoders.

    Raises:
        UsageError: at the call, where a request cannot be met.
        WeightsError: while iterating, where a medium is not finite.
    """
    protocol = protocol or pipeline.protocol
    check_requests(requests)
    if batch_size < 1:
        raise UsageError(f"batch_size is at least 1; {batch_size} was given")
    check_protocol(pipeline.diffusers, protocol)
    check_references(pipeline.diffusers, requests)
    embed = embed or partial(text_arguments, protocol)
    return _media(pipeline.diffusers, requests, protocol, batch_size, embed)


def _media(
    pipe: Any,
    requests: Sequence[Request],
    protocol: Protocol,
    batch_size: int,
    embed: Callable[[Sequence[Request]], Mapping[str, Any]],
) -> Iterator[Medium]:
    import torch

    options = call_arguments(pipe, protocol)
    if any(request.references for request in requests):
        batch_size = 1  # a call takes the same references for all its prompts
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        generators = [torch.Generator().manual_seed(request.seed) for request in batch]
        # The call itself would decode the whole batch at once, in its own dtype.
        (latents, *_) = pipe(
            generator=generators,
            output_type="latent",
            return_dict=False,
            **options,
            **embed(batch),
            **reference_arguments(pipe, batch[0]),
        )
        for request, medium in zip(batch, decode(pipe, latents, protocol), strict=True):
            if medium is None:
                raise WeightsError(
                    f"what was made of {request.prompt!r}, seed {request.seed}, is not a number "
                    "(NaN). In float16 many models overflow: load with float32 or bfloat16"
                )
            yield medium


def place_of(source: str | Path) -> tuple[Alias | None, str | Path]:
    """The alias that `source` names, or None; and the repository or the folder it stands for.

    Raises:
        UsageError: nothing goes by this name.
    """
    name, path = str(source), Path(source)
    if re.match(r"[a-z]+:/", name):  # pathlib leaves one slash of two
        raise UsageError(
            f"{source} is a URL: give owner/name of a repository on the hub, or download it "
            "and give its folder"
        )
    written_as_path = isinstance(source, Path) or path.name != name
    if written_as_path and path.exists():
        return None, path
    for alias in ALIASES.values():
        # A repository that is only a part of what a name means is itself where it is named.
        whole = "" if alias.parts or alias.repo is None else alias.repo.casefold()
        if name.casefold() in (alias.name, whole):
            return alias, alias.place
    if path.exists():
        return None, path
    if _HUB_ID.fullmatch(name):
        if not can_be_repo(name):
            raise UsageError(
                f"{name} is no folder, and not owner/name on the hub: such a name has at most 96 "
                "characters, no -- or .. in it, and does not end with -, . or .git"
            )
        if path.parent.is_dir():  # as in runs/a, which somebody else might have put on the hub
            raise UsageError(
                f"{missing_folder(source)}. It is not looked for on the hub, because "
                f"{path.parent} is a folder here"
            )
        return None, name
    if written_as_path:
        raise missing_folder(source)
    raise unknown("pipeline", name, ALIASES, "rewardkit pipelines")
