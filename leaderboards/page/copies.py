"""Which pictures and clips a page may hold, and their copies.

A page is made to be served and sent, and a result may have come from somebody else. A path in it is
therefore not trusted: what is copied lies in a folder that the user named, is reached through no
link, and opens as a picture or clip that browsers show. Everything else is left out, counted and
named.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, final

from rewardkit.errors import InputError, describe
from rewardkit.media.files import open_file, quoted
from rewardkit.media.images import MAX_PIXELS, open_picture, save_picture
from rewardkit.records.provenance import sha256_text

MEDIA = "media"
_LONGEST = 120
_PICTURES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
_CLIPS = {".mp4", ".webm"}
# As Pillow calls them; MPO is what some cameras write as .jpg.
_FORMATS = {"AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "WEBP"}
# As libav calls them: the containers that these extensions stand for, and codecs in them.
_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
_CODECS = {"av1", "h264", "vp8", "vp9"}
_MAX_BYTES = 64 * 2**20
# Number of files, left out for one reason, that are named.
_NAMED = 3


class Copy(NamedTuple):
    """A copied file.

    Attributes:
        address: from index.html.
        poster: the address of a clip's first frame; None of a picture.
    """

    address: str
    poster: str | None = None


@final
class Copies:
    """The folder of copies of a page, and what was left out of it."""

    def __init__(self, folder: Path) -> None:
        """Copies into `folder`, which is made when it is needed; it is media/ in the end."""
        self._folder = folder
        self._parents: dict[Path, Path] = {}
        self._left_out: dict[str, dict[str, None]] = {}

    @property
    def notes(self) -> list[str]:
        """What was left out and why, a sentence for each reason."""
        found = []
        for reason, paths in self._left_out.items():
            names = ", ".join(quoted(path) for path in list(paths)[:_NAMED])
            more = ", ..." if len(paths) > _NAMED else ""
            subject = "1 file is" if len(paths) == 1 else f"{len(paths)} files are"
            found.append(f"{subject} not shown: {reason}: {names}{more}")
        return found

    def allowed(self, base: Path, path: str, folders: Sequence[Path]) -> Path | None:
        """Where a picture or clip really lies, if it may be shown; else None, and it is left out.

        Args:
            base: the folder that its path is from; links that lead there are the user's own.
            path: as a result has it.
            folders: where files may lie, resolved.
        """
        # `..` is taken back as text: where links are refused, both readings are the same.
        place = Path(os.path.normpath(self._resolved(base) / path))
        try:
            linked = (
                stat.S_ISLNK(place.lstat().st_mode) or self._resolved(place.parent) != place.parent
            )
        except (FileNotFoundError, NotADirectoryError):
            return None  # media need not be where their results are
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            return self._leave_out(path, f"the file cannot be read ({why})")
        if linked:
            return self._leave_out(path, "reached through a link")
        if not any(place.is_relative_to(folder) for folder in folders):
            why = "outside of the folders of results that are named; name their folder too"
            return self._leave_out(path, why)
        if place.suffix.lower() not in _PICTURES | _CLIPS:
            return self._leave_out(path, "not a picture or clip that browsers show")
        return place

    def copy(self, source: Path, name: str) -> Copy | None:
        """Copies an allowed picture or clip, as it is, under a name; None where it is left out.

        Beside a clip, its first frame is written as its poster.

        Raises:
            InputError: the copy cannot be written.
        """
        suffix = source.suffix.lower()
        target = self._folder / _file_name(name, suffix)
        try:
            with open_file(source) as stream:
                if (size := os.fstat(stream.fileno()).st_size) > _MAX_BYTES:
                    raise InputError(f"it has {size:,} bytes; up to {_MAX_BYTES:,} are copied")
                self._folder.mkdir(parents=True, exist_ok=True)
                if suffix in _CLIPS:
                    return _copy_clip(stream, target)
                return _copy_picture(stream, target)
        except InputError as error:
            why = describe(error).removeprefix(quoted(source)).removeprefix(quoted(target))
            self._leave_out(str(source), why.strip())
            return None
        except OSError as error:
            raise InputError(f"cannot copy {source} to {target}: {error.strerror}") from error

    def _resolved(self, folder: Path) -> Path:
        if folder not in self._parents:
            self._parents[folder] = Path(os.path.realpath(folder))
        return self._parents[folder]

    def _leave_out(self, path: str, reason: str) -> Path | None:
        """Remembers what is left out; there is no place to copy from."""
        name = path if len(path) <= _LONGEST else f"{path[:_LONGEST]}..."
        self._left_out.setdefault(reason, {})[name] = None
        return None


def _copy_picture(stream: BinaryIO, target: Path) -> Copy:
    if (form := open_picture(stream, "it").format) not in _FORMATS:
        raise InputError(f"it is a {form} file, which browsers do not show")
    _copy_bytes(stream, target)
    return Copy(f"{MEDIA}/{target.name}")


def _copy_clip(stream: BinaryIO, target: Path) -> Copy:
    """Looks at the copy, since libav opens files by their paths, and removes one it refuses."""
    from PIL import Image

    from rewardkit.media import libav

    _copy_bytes(stream, target)
    poster = target.with_name(f"{target.name}.png")
    try:
        info = libav.scan(target)
        if info.container not in _CONTAINERS or info.codec not in _CODECS:
            raise InputError(
                f"it is {info.codec} in {info.container}, which browsers do not show: encode it as "
                "H.264 in mp4"
            )
        if info.width * info.height > MAX_PIXELS:
            raise InputError(f"its frames have {info.width} x {info.height} pixels")
        save_picture(Image.fromarray(libav.first_frame(target)), poster)
    except InputError:
        target.unlink()
        raise
    return Copy(f"{MEDIA}/{target.name}", f"{MEDIA}/{poster.name}")


def _copy_bytes(stream: BinaryIO, target: Path) -> None:
    stream.seek(0)
    with target.open("wb") as file:
        shutil.copyfileobj(stream, file)


def _file_name(name: str, suffix: str) -> str:
    """A name that any file system and any address takes; other names give other ones."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    if plain != name or len(plain) > _LONGEST:
        plain = f"{plain[:_LONGEST]}-{sha256_text(name)[:12]}"
    return f"{plain}{suffix}"
