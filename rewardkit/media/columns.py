"""Which column of a table names the files, and which holds the prompts."""

from __future__ import annotations

from collections.abc import Sequence

from rewardkit.errors import InputError, UsageError
from rewardkit.media.tables import TableRow, column

#: What columns that name files are called, by us and by the data sets of this field.
PATHS = (
    "path", "file_name", "filename", "file", "file_path", "filepath", "image", "image_path",
    "image_file", "img", "img_path", "video", "video_path", "key", "name",
)  # fmt: skip
#: The same for prompts, where there is no `prompt`: Hugging Face's image folders, VBench.
_TEXTS = ("text", "caption", "prompt_en")


def prompt_column(rows: Sequence[TableRow], name: str | None = None) -> str | None:
    """The column with the prompts, or None where there is none.

    Args:
        rows: of the table.
        name: the column that the user names.

    Raises:
        UsageError: there is no column of that name.
        InputError: two columns could be it.
    """
    if name is not None:
        return column_named(rows, name, "--prompt-column")
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


def column_named(rows: Sequence[TableRow], name: str, option: str) -> str:
    """The column that the user names.

    Raises:
        UsageError: no row has it.
    """
    if not any(name in row.values for row in rows):
        known = sorted({key for row in rows for key in row.values})
        raise UsageError(f"{option} {name}: no such column at {rows[0].where}; it has: {known}")
    return name
