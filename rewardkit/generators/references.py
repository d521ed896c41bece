"""The pictures that generation starts from, as the lines of a prompt file name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.errors import InputError, describe
from rewardkit.generators.families import Family
from rewardkit.media.files import open_file, quoted
from rewardkit.media.images import decode_rgb, open_picture, read_image, upright_size
from rewardkit.media.task import REFERENCES, starts_from_picture

if TYPE_CHECKING:
    import torch

    from rewardkit.media.prompts import PromptLine
    from rewardkit.media.task import Task

#: The key of a prompt line that names the picture, beside the reference's own name.
KEY = "image"
#: The part by which a first frame may be stretched on one side to fill a clip.
MOST_STRETCH = 0.03


def reference_files(lines: Sequence[PromptLine], family: Family) -> list[dict[str, Path]]:
    """The files of the pictures that each line starts from, by the names of references.

    A line names a picture under the reference's name, such as "first_frame", or under "image"; the
    path is relative to the folder of the prompt file. All files are checked. Tasks that start from
    text alone have none, whatever their lines say.

    Raises:
        InputError: a line names no picture, or a file is missing, no picture, damaged, transparent
            or animated. The message begins with the line.
    """
    return _files(lines, family.references if starts_from_picture(family.task) else ())


def task_files(lines: Sequence[PromptLine], task: Task) -> list[dict[str, Path]]:
    """The same for a task, whatever model meets it.

    Raises:
        InputError: as for `reference_files`.
    """
    return _files(lines, [REFERENCES[task]] if task in REFERENCES else ())


def _files(lines: Sequence[PromptLine], names: Iterable[str]) -> list[dict[str, Path]]:
    checked: set[Path] = set()
    found = []
    for line in lines:
        files = {name: _file(line, name) for name in names}
        for name, path in files.items():
            if path not in checked:
                try:
                    _check(path)
                except InputError as error:
                    raise InputError(f"{line.where}: the {_words(name)} {error}") from error
                checked.add(path)
        found.append(files)
    return found


def read_references(line: PromptLine, family: Family) -> dict[str, torch.Tensor]:
    """The pictures that a line starts from, by the names of references: uint8 `[3, H, W]`.

    Raises:
        InputError: as for `reference_files`.
    """
    (files,) = reference_files([line], family)
    return {name: read_image(path) for name, path in files.items()}


def check_shapes(
    references: Iterable[tuple[str, Mapping[str, Path]]], height: int, width: int
) -> None:
    """Refuses first frames whose shape is not that of the clips, to whose size they are scaled.

    Heights and widths that a model accepts are seldom 16:9 exactly, so a first frame may be
    stretched by up to `MOST_STRETCH` on one side.

    Args:
        references: for each prompt where it is from, and the files of its pictures by name.
        height: of the clips, in pixels.
        width: of the clips, in pixels.

    Raises:
        InputError: a first frame has another shape. The message begins with its prompt's place.
    """
    checked: set[Path] = set()
    for where, files in references:
        path = files.get(REFERENCES["image-to-video"])
        if path is None or path in checked:
            continue
        with open_file(path) as stream:
            across, down = upright_size(open_picture(stream, quoted(path)))
        wide, tall = across * height, down * width
        stretch = max(wide, tall) / min(wide, tall)
        if stretch > 1 + MOST_STRETCH:
            raise InputError(
                f"{where}: the first frame {quoted(path)} is {across} x {down} pixels, and the "
                f"clip {width} x {height}: it would be stretched by "
                f"{stretch - 1:.0%}. Crop it to the clip's shape, or choose another height or width"
            )
        checked.add(path)


def without_references(meta: Mapping[str, object], files: Mapping[str, Path]) -> dict[str, object]:
    """The keys of a line but for those that name `files`."""
    return {key: value for key, value in meta.items() if not files or key not in (*files, KEY)}


def _file(line: PromptLine, name: str) -> Path:
    path = line.meta.get(name, line.meta.get(KEY))
    if path is not None and not isinstance(path, str):
        raise InputError(
            f"{line.where}: the {_words(name)} is named by the path of a picture; "
            f"{path!r} was given"
        )
    if not path:
        raise InputError(
            f"{line.where}: it names no {_words(name)}, which the task starts from. Give the "
            f"path of a picture under the key {KEY!r}"
        )
    return line.folder / path


def _check(path: Path) -> None:
    name = quoted(path)
    with open_file(path) as stream:
        picture = open_picture(stream, name)
        try:
            frames = getattr(picture, "n_frames", 1)
        except Exception as error:  # a decoder may raise anything on damaged data
            raise InputError(f"{name} is damaged or cut short: {describe(error)}") from error
        if frames > 1 and picture.format != "MPO":  # a photo with its preview
            raise InputError(f"{name} is animated ({frames} frames). Save one frame as a picture")
        transparent = picture.has_transparency_data
        decode_rgb(picture, name)
        # Alpha would be dropped, and colours that nobody sees would show.
        if transparent and picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise InputError(f"{name} is transparent in places. Save it on a background")


def _words(name: str) -> str:
    return name.replace("_", " ")
