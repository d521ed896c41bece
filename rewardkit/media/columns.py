"""Which column of a table names the files, and which holds the prompts."""

from __future__ import annotations

from collections.abc import Sequence

from rewardkit.errors import InputError, UsageError
from rewardkit.media.tables import Row, column

#: What columns that name files are called, by us and by the data sets of this field.
PATHS = (
    "path", "file_name", "filename", "file", "file_path", "filepath", "image", "image_path",
    "image_file", "img", "img_path", "video", "video_path", "key", "name",
)  # fmt: skip
#: The same for prompts, where there is no `prompt`: Hugging Face's image folders, VBench.
_TEXTS = ("text", "caption", "prompt_en")


def prompt_column(rows: Sequence[Row], asked: str | None = None) -> str | None:
    """The column with the prompts, or None where there is none.

    Args:
        rows: of the table.
        asked: the column that the user names.

    Raises:
        UsageError: there is no column of that name.
        InputError: two columns could be it.
    """
    if asked is not None:
        return named(rows, asked, "--prompt-column")
    usual = column(rows, ("prompt",))
    if usual:
        return usual[0]
    found = column(rows, _TEXTS)
    if len(found) > 1:
        raise InputError(
            f"{rows[0].where}: the columns {' and '.join(map(repr, found))} could both be the "
            "prompt. Name one with --prompt-column"
        )
    return found[0] if found else None


def named(rows: Sequence[Row], asked: str, option: str) -> str:
    """The column that the user names.

    Raises:
        UsageError: no row has it.
    """
    if not any(asked in row.values for row in rows):
        known = sorted({key for row in rows for key in row.values})
        raise UsageError(f"{option} {asked}: no such column at {rows[0].where}; it has: {known}")
    return asked
