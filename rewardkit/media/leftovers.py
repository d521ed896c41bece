"""What is said of files in a folder that are not scored, such as a manifest that was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from rewardkit.media.files import quoted
from rewardkit.media.tables import TABLE_SUFFIXES

# As `rewardkit generate` and Hugging Face's image folders call them.
_MANIFESTS = ("manifest", "metadata")


def remarks(skipped: Sequence[str], *, manifests: bool) -> Iterator[str]:
    """One line for all files that were left out, and one for a manifest among them.

    Args:
        skipped: their paths.
        manifests: whether to mention manifests.
    """
    if not skipped:
        return
    n, first = len(skipped), skipped[0]
    files = "1 other file was" if n == 1 else f"{n} other files were"
    yield f"{files} left out for {'its' if n == 1 else 'their'} extension, such as {first}"
    if not manifests:
        return
    tables = [
        path
        for path in map(PurePath, skipped)
        if path.stem in _MANIFESTS and path.suffix.lower() in TABLE_SUFFIXES
    ]
    of_geneval = [path for path in tables if re.fullmatch(r"\d{4,5}", path.parent.name)]
    if of_geneval:
        folder = quoted(of_geneval[0].parent.parent)
        yield (
            f"{folder} looks like pictures for GenEval: `rewardkit bench score geneval --images "
            f"{folder}` measures them with their prompts"
        )
    elif tables:
        table = quoted(tables[0])
        yield f"{table} looks like a manifest: `rewardkit score {table}` takes its prompts"
