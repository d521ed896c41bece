"""A file handed over by a user: opened for reading, or an `InputError` that says why it cannot be.

Names are shown with `repr`: a name may hold a newline, or bytes that are not UTF-8.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from rewardkit.errors import InputError

# What files turn out to be when they are not what their name says: (offset, bytes, what it is).
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyphei", "a HEIC picture, which Pillow alone does not read: convert it to PNG or JPEG"),
    (4, b"ftypmif1", "a HEIF picture, which Pillow alone does not read: convert it to PNG or JPEG"),
    (4, b"ftyp", "an MP4 or QuickTime video"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (8, b"AVI ", "an AVI video"),
    (8, b"WAVE", "a WAV sound"),
    (0, b"ID3", "an MP3 sound"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"\xff\n", "a JPEG XL picture, which Pillow alone does not read: convert it to PNG"),
    (4, b"JXL ", "a JPEG XL picture, which Pillow alone does not read: convert it to PNG"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "a PostScript document"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"PAR1", "a parquet table"),
    (0, b"version https://git-lfs", "a Git LFS pointer: run `git lfs pull` to fetch the file"),
)


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as error messages show it."""
    return repr(os.fspath(path))


def open_file(path: str | Path) -> BinaryIO:
    """A regular, non-empty file, open for reading.

    Raises:
        InputError: it is missing, a broken link, a folder, a pipe, empty, or not readable.
    """
    path = Path(path)
    try:
        # Asked before opening: opening a pipe would wait for a writer that may never come.
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{quoted(path)} is a folder, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{quoted(path)} is a pipe or a device, not a regular file")
        if status.st_size == 0:
            raise InputError(f"{quoted(path)} is empty (0 bytes)")
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{quoted(path)} {_why(error, path)}") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{quoted(path)} cannot be a file name: {error}") from error


def read_text(path: str | Path) -> str:
    """A UTF-8 text file, or a UTF-16 one that begins with its byte order mark; without the mark.

    Raises:
        InputError: it cannot be opened, or a line of it is not UTF-8.
    """
    with open_file(path) as stream:
        data = stream.read()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Excel's "Unicode text"
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{quoted(path)} is damaged: not UTF-16 text ({error.reason})"
            ) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{quoted(path)}, line {line}: not UTF-8 text (byte 0x{data[error.start]:02x}); "
            f"the file looks like {looks_like(data[:512])}. Save it as UTF-8"
        ) from error


def looks_like(head: bytes) -> str:
    """What a file seems to be, from its first few hundred bytes, in words for an error message."""
    for offset, magic, name in _SIGNATURES:
        if head.startswith(magic, offset):
            return name
    text = head.decode("utf-8", errors="ignore")  # the cut may fall inside a character
    if text and len(text.encode()) >= len(head) - 3 and "\0" not in text:
        # Not its words: the reason goes into tables, and these may be sent to others.
        start = text.lstrip("\ufeff \t\r\n").casefold()
        if start.startswith(("<!doctype html", "<html")):
            return "an HTML page, as servers send in place of a missing file"
        return "text"
    return f"unknown data beginning with bytes {head[:8].hex(' ')}"


def _why(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"is a link to {quoted(path.readlink())}, which does not exist"
    if error.errno == errno.ENOENT:
        return "does not exist"
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "may not be read: permission denied"
    return f"cannot be read: {error.strerror or error}"


def refuse_address(path: object) -> None:
    """Refuse a URL, which as a path would only be said not to exist.

    Raises:
        InputError: `path` is one.
    """
    if str(path).lower().startswith(("http:", "https:")):
        raise InputError(
            f"{str(path)!r} is a URL, and only files are read. Download it, and give the path of "
            "the file"
        )
