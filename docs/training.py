"""Draw docs/training.png: images before and after training, selected by a fixed rule and marked.

    rewardkit bench run shapes --model shapes-flow --tuned runs/a --with-base -o results
    python docs/training.py results/shapes-flow.shapes.json results/shapes-flow-a.shapes.json

The rule selects, for each task, the first image in benchmark order whose verdict changed with
training, for better or worse. A green frame marks a correct image, a red one a wrong image.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import torch

from benchmarks.reading import read_result, read_table
from benchmarks.rows import place
from rewardkit.media.images import read_image
from rewardkit.media.sheets import contact_sheet
from rewardkit.records.rows import Row

_FRAMES = {True: (46, 160, 67), False: (207, 34, 46)}
# The contact sheet truncates longer lines.
_LETTERS = 26


def chosen(before: dict[str, Row], after: dict[str, Row], metric: str) -> list[str]:
    """Ids of the first image of each task whose verdict changed."""
    found: dict[str, str] = {}
    for id, row in before.items():
        if id in after and row.scores[metric] != after[id].scores[metric]:
            found.setdefault(place(id)[0], id)
    return list(found.values())


def framed(path: Path, right: bool) -> torch.Tensor:
    """An enlarged image in a frame that shows whether it is correct: uint8 `[3, H, W]`."""
    large = read_image(path).repeat_interleave(6, 1).repeat_interleave(6, 2)
    frame = torch.tensor(_FRAMES[right], dtype=torch.uint8)[:, None, None]
    picture = frame.expand(3, large.shape[1] + 12, large.shape[2] + 12).clone()
    picture[:, 6:-6, 6:-6] = large
    return picture


def main(base: Path, trained: Path, out: Path) -> None:
    """Write the contact sheet of two results whose images are on this machine."""
    results = [read_result(path) for path in (base, trained)]
    metric = results[0].benchmark.metric
    tables = [
        {row.id: row for row in read_table(result, path).rows}
        for result, path in zip(results, (base, trained), strict=True)
    ]
    pictures, captions = [], []
    for id in chosen(*tables, metric):
        for when, path, rows in zip(("before", "after"), (base, trained), tables, strict=True):
            row = rows[id]
            right = row.scores[metric] == 1
            pictures.append(framed(path.parent / row.path, right))
            others = ", ".join(
                f"{name} {value:.2f}"
                for name, value in row.scores.items()
                if name != metric and value is not None
            )
            prompt = "\n".join(textwrap.wrap(row.prompt or "", _LETTERS))
            captions.append(f"{when}: {'right' if right else 'wrong'}\n{others}\n{prompt}")
    contact_sheet(pictures, captions, columns=4, width=204).save(out, optimize=True)
    for result in results:
        print(f"{result.model.name}: {metric} {result.score:.3f}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).parent / "training.png")
