"""A folder of pictures that a generator made, with the manifest that `rewardkit score` reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.devices import arithmetic
from rewardkit.errors import InputError, UsageError
from rewardkit.generators.arguments import check_protocol
from rewardkit.generators.noise import picture_seed
from rewardkit.generators.pipelines import Pipeline, generate
from rewardkit.generators.protocol import CARD, Protocol
from rewardkit.generators.requests import Request
from rewardkit.media.images import write_image
from rewardkit.media.prompts import PromptLine
from rewardkit.records.differences import first_difference
from rewardkit.records.documents import read_json
from rewardkit.records.provenance import sha256_text, versions
from rewardkit.records.storage import atomic_write, write_json

MANIFEST = "manifest.jsonl"

#: The most pictures of one folder: their list is held in memory.
MAX_PICTURES = 1_000_000


@dataclass(frozen=True)
class Planned:
    """A picture to be made: where it goes, what it shows, its seed."""

    path: Path
    prompt: str
    seed: int


def make_gallery(
    pipeline: Pipeline,
    lines: Sequence[PromptLine],
    folder: Path,
    *,
    samples: int = 1,
    seed: int = 0,
    protocol: Protocol | None = None,
    batch_size: int = 4,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """`samples` pictures of each prompt as PNG; the path of their manifest.

    A picture's seed comes from (seed, prompt's place, sample's place). What an interrupted run has
    made is not made again.

    Args:
        pipeline: the generator.
        lines: the prompts; their meta goes into the manifest: dates and decimals as text, bytes not
            at all.
        folder: PNGs named prompt-sample, `manifest.jsonl`, and rewardkit.json: what made them.
        samples: per prompt.
        seed: of the whole.
        protocol: instead of the pipeline's own.
        batch_size: pictures made at once.
        on_picture: told after each picture: how many there are, of how many.

    Raises:
        UsageError: the folder holds pictures made in another way, or more are asked for than
            `MAX_PICTURES`.
        InputError: pictures were removed while others were made.
    """
    protocol = protocol or pipeline.protocol
    check_number(len(lines), samples)
    told = {
        "seed": seed,
        "samples": samples,
        "prompts": sha256_text("\n".join(line.prompt for line in lines)),
    }
    claim(folder, pipeline, protocol, told)
    asked = [(i, j) for i in range(len(lines)) for j in range(samples)]
    planned = [
        Planned(folder / f"{i:05d}-{j:02d}.png", lines[i].prompt, picture_seed(seed, i, j))
        for i, j in asked
    ]
    columns = [_storable(line.meta) for line in lines]
    batches = [planned[i : i + batch_size] for i in range(0, len(planned), batch_size)]
    make_pictures(pipeline, batches, protocol, on_picture)
    check_kept(folder, [one.path for one in planned])
    manifest = folder / MANIFEST
    with atomic_write(manifest) as temporary, temporary.open("w", encoding="utf-8") as file:
        for (i, _), one in zip(asked, planned, strict=True):
            row = {"path": one.path.name, "prompt": one.prompt, "seed": one.seed}
            file.write(json.dumps({**columns[i], **row}) + "\n")
    return manifest


def _storable(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a prompt as JSON holds them, without the pictures some data sets have."""

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
    """Refuses more pictures than one folder takes, before their list is made.

    Raises:
        UsageError: there are more than `MAX_PICTURES`.
    """
    if prompts * samples > MAX_PICTURES:
        raise UsageError(
            f"{prompts:,} prompts x {samples:,} samples are {prompts * samples:,} pictures; one "
            f"folder takes up to {MAX_PICTURES:,}. Ask for fewer samples or prompts"
        )


def make_pictures(
    pipeline: Pipeline,
    batches: Sequence[Sequence[Planned]],
    protocol: Protocol,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Makes what is missing of `batches`, as PNG.

    The last bits of a picture can depend on the batch it is made in. So a batch of which a picture
    is missing is sampled whole again, and an interrupted run ends with the same bits.

    Args:
        pipeline: the generator.
        batches: what is sampled together.
        protocol: how.
        on_picture: told after each picture: how many there are, of how many.
    """
    total = sum(map(len, batches))
    missing = [[one for one in batch if not one.path.exists()] for batch in batches]
    done = total - sum(map(len, missing))
    for batch, absent in zip(batches, missing, strict=True):
        if not absent:
            continue
        pictures = generate(
            pipeline,
            [Request(planned.prompt, planned.seed) for planned in batch],
            protocol=protocol,
            batch_size=len(batch),
        )
        for one, picture in zip(batch, pictures, strict=True):
            if one in absent:
                with atomic_write(one.path) as temporary:
                    write_image(picture, temporary)
                done += 1
                on_picture(done, total)


def check_kept(folder: Path, paths: Iterable[Path]) -> None:
    """Refuses a folder from which something was removed while it was made.

    Raises:
        InputError: its card, or one of `paths`, is no longer there.
    """
    if not (folder / CARD).is_file():
        raise InputError(
            f"{folder} was removed while its pictures were made: {CARD} is gone. Remove what is "
            "left of it; the same command then makes all of them"
        )
    gone = [path for path in paths if not path.is_file()]
    if gone:
        raise InputError(
            f"{len(gone)} pictures were removed while others were made, such as {gone[0]}. The "
            "same command makes them again"
        )


def claim(
    folder: Path, pipeline: Pipeline, protocol: Protocol, told: Mapping[str, object]
) -> dict[str, Any]:
    """Writes down what makes the pictures of `folder`, in its rewardkit.json.

    Args:
        folder: made where it is not there.
        pipeline: the generator.
        protocol: how it is sampled.
        told: seeds and prompts, however the caller has them.

    Returns:
        What was written of them: `made_by` reads it again.

    Raises:
        UsageError: the folder holds something else, or pictures made in another way; or the
            pipeline cannot keep the protocol, and the folder is as it was.
    """
    check_protocol(pipeline.diffusers, protocol)
    card = folder / CARD
    said = {**pipeline.provenance(), "protocol": protocol.model_dump(), **told}
    now: dict[str, Any] = json.loads(json.dumps(said))  # a tuple is read back as a list
    before = made_by(folder)
    if before is not None:
        different = first_difference(before, now)
        # A claim that no picture followed, where memory did not suffice, binds nobody.
        if different is not None and any(folder.rglob("*.png")):
            raise UsageError(
                f"{folder} holds pictures made in another way: {different.key} was "
                f"{different.before}, now {different.after}. Name another folder, or empty this one"
            )
    # Hidden files are those of the system, or of another shard that is writing this very card.
    elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise UsageError(f"{folder} is not empty, and rewardkit did not make it: name another")
    write_json(card, {"made_by": now, "versions": versions(), "arithmetic": arithmetic()})
    return now


def made_by(folder: Path) -> dict[str, Any] | None:
    """What a folder's card says of its pictures; None where it says nothing of any."""
    try:
        told = read_json(folder / CARD)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None  # the second: `claim` tells that no folder can be made there
    return told.get("made_by") if isinstance(told, dict) else None
