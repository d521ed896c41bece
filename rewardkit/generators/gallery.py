"""A folder of media that a generator made, with the manifest that `rewardkit score` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rewardkit.devices import arithmetic
from rewardkit.errors import InputError, UsageError
from rewardkit.generators.arguments import check_protocol
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.noise import sample_seed
from rewardkit.generators.pipelines import Pipeline, generate
from rewardkit.generators.protocol import CARD, Protocol
from rewardkit.generators.references import check_shapes, reference_files, without_references
from rewardkit.generators.requests import Request
from rewardkit.media.images import read_image
from rewardkit.media.prompts import PromptLine
from rewardkit.media.writing import SUFFIXES, suffix_of, write_medium
from rewardkit.records.differences import first_difference
from rewardkit.records.documents import read_json
from rewardkit.records.provenance import sha256_file, sha256_text, versions
from rewardkit.records.storage import atomic_write, write_json

MANIFEST = "manifest.jsonl"

#: The most media of one folder: their list is held in memory.
MAX_MEDIA = 1_000_000


@dataclass(frozen=True)
class Planned:
    """A medium to be made.

    Attributes:
        path: of its file.
        request: what the generator is asked for, but for references that lie in files.
        references: these files, by name; they are read when the medium is made.
    """

    path: Path
    request: Request
    references: Mapping[str, Path] = field(default_factory=dict)

    def whole_request(self) -> Request:
        """The request with all of its references, read from their files."""
        media = {name: read_image(path) for name, path in self.references.items()}
        return replace(self.request, references={**self.request.references, **media})


def make_gallery(
    pipeline: Pipeline,
    lines: Sequence[PromptLine],
    folder: Path,
    *,
    samples: int = 1,
    seed: int = 0,
    protocol: Protocol | None = None,
    batch_size: int = 4,
    on_medium: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Makes `samples` media of each prompt; the path of their manifest.

    The seed of a medium comes from (seed, prompt's place, sample's place). What an interrupted run
    has made is not made again.

    Args:
        pipeline: the generator.
        lines: the prompts; their meta goes into the manifest: dates and decimals as text, bytes not
            at all. Where the task starts from a picture, each names one: see `reference_files`.
        folder: holds a file per medium, named prompt-sample; `manifest.jsonl`; and rewardkit.json,
            which says what made them.
        samples: per prompt.
        seed: of the whole.
        protocol: instead of the pipeline's own.
        batch_size: media made at once.
        on_medium: called after each medium with how many there are, of how many.

    Raises:
        UsageError: the folder holds media made in another way, or more are asked for than
            `MAX_MEDIA`.
        InputError: files were removed while others were made, or a line names no usable picture
            where the task starts from one, or a first frame of another shape than the clip's.
    """
    protocol = protocol or pipeline.protocol
    check_number(len(lines), samples)
    files = reference_files(lines, FAMILIES[type(pipeline.diffusers).__name__])
    places = (line.where for line in lines)
    check_shapes(zip(places, files, strict=True), protocol.height, protocol.width)
    details = {
        "seed": seed,
        "samples": samples,
        "prompts": sha256_text("\n".join(line.prompt for line in lines)),
    }
    if any(files):
        details["references"] = _sha256(files)
    claim(folder, pipeline, protocol, details)
    suffix = suffix_of(pipeline.task)
    planned = [
        Planned(
            folder / f"{i:05d}-{j:02d}{suffix}",
            Request(line.prompt, sample_seed(seed, i, j)),
            files[i],
        )
        for i, line in enumerate(lines)
        for j in range(samples)
    ]
    batches = [planned[i : i + batch_size] for i in range(0, len(planned), batch_size)]
    make_media(pipeline, batches, protocol, on_medium)
    check_kept(folder, [medium.path for medium in planned])
    rows = [
        {"path": medium.path.name, "prompt": medium.request.prompt, "seed": medium.request.seed}
        for medium in planned
    ]
    return write_manifest(folder, lines, files, rows)


def write_manifest(
    folder: Path,
    lines: Sequence[PromptLine],
    files: Sequence[Mapping[str, Path]],
    rows: Sequence[Mapping[str, Any]],
) -> Path:
    """Writes `manifest.jsonl`, a line per medium, and returns its path.

    Args:
        folder: of the media.
        lines: the prompts, whose meta each line repeats.
        files: the pictures that each prompt starts from, by name.
        rows: what else is said of each medium, as many of each prompt, prompt by prompt.
    """
    columns = [
        _storable(without_references(line.meta, files[i]))
        | {name: os.path.relpath(path, folder) for name, path in files[i].items()}
        for i, line in enumerate(lines)
    ]
    samples = len(rows) // len(lines)
    manifest = folder / MANIFEST
    with atomic_write(manifest) as temporary, temporary.open("w", encoding="utf-8") as file:
        for i, row in enumerate(rows):
            file.write(json.dumps({**columns[i // samples], **row}) + "\n")
    return manifest


def _sha256(files: Sequence[Mapping[str, Path]]) -> str:
    """One checksum of all reference files, in order."""
    sums = {path: sha256_file(path) for named in files for path in named.values()}
    return sha256_text("\n".join(sums[path] for named in files for path in named.values()))


def _storable(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a prompt as JSON holds them, without the media that some data sets have."""

    def as_text(value: object) -> str | None:
        return None if isinstance(value, bytes) else str(value)

    kept = {
        name: value
        for name, value in meta.items()
        if not isinstance(value, bytes) and not (isinstance(value, dict) and "bytes" in value)
    }
    stored: dict[str, Any] = json.loads(json.dumps(kept, default=as_text))
    return stored


def check_number(prompts: int, samples: int) -> None:
    """Refuses more media than one folder takes, before their list is made.

    Raises:
        UsageError: there are more than `MAX_MEDIA`.
    """
    if prompts * samples > MAX_MEDIA:
        raise UsageError(
            f"{prompts:,} prompts x {samples:,} samples are {prompts * samples:,} files; one "
            f"folder takes up to {MAX_MEDIA:,}. Ask for fewer samples or prompts"
        )


def make_media(
    pipeline: Pipeline,
    batches: Sequence[Sequence[Planned]],
    protocol: Protocol,
    on_medium: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Makes and writes what is missing of `batches`.

    The last bits of a medium can depend on the batch it is made in. So a batch of which one is
    missing is sampled whole again, and an interrupted run ends with the same bits.

    Args:
        pipeline: the generator.
        batches: what is sampled together.
        protocol: how.
        on_medium: called after each medium with how many there are, of how many.
    """
    total = sum(map(len, batches))
    missing = [[planned for planned in batch if not planned.path.exists()] for batch in batches]
    done = total - sum(map(len, missing))
    for batch, absent in zip(batches, missing, strict=True):
        if not absent:
            continue
        requests = [planned.whole_request() for planned in batch]
        media = generate(pipeline, requests, protocol=protocol, batch_size=len(batch))
        for planned, medium in zip(batch, media, strict=True):
            if planned in absent:
                with atomic_write(planned.path) as temporary:
                    write_medium(medium, temporary.with_suffix(""))
                done += 1
                on_medium(done, total)


def check_kept(folder: Path, paths: Iterable[Path]) -> None:
    """Refuses a folder from which something was removed while it was made.

    Raises:
        InputError: its card, or one of `paths`, is no longer there.
    """
    if not (folder / CARD).is_file():
        raise InputError(
            f"{folder} was removed while its files were made: {CARD} is gone. Remove what is left "
            "of it; the same command then makes all of them"
        )
    gone = [path for path in paths if not path.is_file()]
    if gone:
        raise InputError(
            f"{len(gone)} files were removed while others were made, such as {gone[0]}. The same "
            "command makes them again"
        )


def claim(
    folder: Path, pipeline: Pipeline, protocol: Protocol, details: Mapping[str, object]
) -> dict[str, Any]:
    """Records what makes the media of `folder`, in its rewardkit.json.

    Args:
        folder: made where it is not there.
        pipeline: the generator.
        protocol: how it is sampled.
        details: seeds and prompts, however the caller has them.

    Returns:
        What was recorded of them: `made_by` reads it again.

    Raises:
        UsageError: the folder holds something else, or media made in another way; or the pipeline
            cannot keep the protocol, and the folder is as it was.
    """
    check_protocol(pipeline.diffusers, protocol)
    record = {**pipeline.provenance(), "protocol": protocol.model_dump(), **details}
    now: dict[str, Any] = json.loads(json.dumps(record))  # a tuple is read back as a list
    before = made_by(folder)
    if before is not None:
        different = first_difference(before, now)
        # A claim that no medium followed, where memory did not suffice, binds nobody.
        if different is not None and _holds_media(folder):
            raise UsageError(
                f"{folder} holds files made in another way: {different.key} was "
                f"{different.before}, now {different.after}. Name another folder, or empty this one"
            )
    # Hidden files are those of the system, or of another shard that is writing this very card.
    elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise UsageError(f"{folder} is not empty, and rewardkit did not make it: name another")
    write_json(folder / CARD, {"made_by": now, "versions": versions(), "arithmetic": arithmetic()})
    return now


def made_by(folder: Path) -> dict[str, Any] | None:
    """What a folder's card says of its media; None where it says nothing of any."""
    try:
        card = read_json(folder / CARD)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None  # the second: `claim` tells that no folder can be made there
    return card.get("made_by") if isinstance(card, dict) else None


def _holds_media(folder: Path) -> bool:
    return any(path.suffix in SUFFIXES.values() for path in folder.rglob("*"))
