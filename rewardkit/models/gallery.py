"""A folder of pictures that a generator made, with the manifest that `rewardkit score` reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rewardkit.errors import UsageError
from rewardkit.media.images import write_image
from rewardkit.media.prompts import PromptLine
from rewardkit.models.noise import number
from rewardkit.models.pipelines import Pipeline, generate
from rewardkit.models.protocol import CARD, Protocol
from rewardkit.records.provenance import sha256_text, versions
from rewardkit.records.storage import atomic_write, first_difference, write_json

MANIFEST = "manifest.jsonl"


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
        lines: the prompts; their meta goes into the manifest.
        folder: PNGs named prompt-sample, `manifest.jsonl`, and rewardkit.json: what made them.
        samples: per prompt.
        seed: of the whole.
        protocol: instead of the pipeline's own.
        batch_size: pictures made at once.
        on_picture: told after each picture: how many there are, of how many.

    Raises:
        UsageError: the folder holds pictures made in another way.
    """
    protocol = protocol or pipeline.protocol
    made_by: dict[str, object] = {
        "model": {
            "source": pipeline.source,
            "alias": pipeline.alias,
            "revision": pipeline.revision,
        },
        "lora": None if pipeline.lora is None else str(pipeline.lora),
        "protocol": protocol.model_dump(),
        "seed": seed,
        "samples": samples,
        "prompts": sha256_text("\n".join(line.prompt for line in lines)),
    }
    _claim(folder, made_by)
    asked = [(i, j) for i in range(len(lines)) for j in range(samples)]
    paths = [folder / f"{i:05d}-{j:02d}.png" for i, j in asked]
    missing = [place for place, path in enumerate(paths) if not path.exists()]
    if missing:
        pictures = generate(
            pipeline,
            [lines[asked[place][0]].prompt for place in missing],
            [number(seed, *asked[place]) for place in missing],
            protocol=protocol,
            batch_size=batch_size,
        )
        for count, (place, picture) in enumerate(zip(missing, pictures, strict=True), start=1):
            with atomic_write(paths[place]) as temporary:
                write_image(picture, temporary)
            on_picture(len(paths) - len(missing) + count, len(paths))
    manifest = folder / MANIFEST
    with atomic_write(manifest) as temporary, temporary.open("w", encoding="utf-8") as file:
        for (i, j), path in zip(asked, paths, strict=True):
            told = {"path": path.name, "prompt": lines[i].prompt, "seed": number(seed, i, j)}
            file.write(json.dumps({**lines[i].meta, **told}) + "\n")
    return manifest


def _claim(folder: Path, made_by: dict[str, object]) -> None:
    """Writes down what makes the pictures, or refuses a folder that something else made."""
    card = folder / CARD
    before = _made_by(card)
    if before is not None:
        different = first_difference(before, made_by)
        if different is not None:
            raise UsageError(
                f"{folder} holds pictures made in another way: {different.key} was "
                f"{different.before}, now {different.after}. Name another folder, or empty this one"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty, and rewardkit did not make it: name another")
    write_json(card, {"made_by": made_by, "versions": versions()})


def _made_by(card: Path) -> dict[str, object] | None:
    """What a folder's card says of its pictures; None where it says nothing of any."""
    try:
        told = json.loads(card.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return told.get("made_by") if isinstance(told, dict) else None
