"""The provenance of a number: versions, checksums and the time, for files of provenance."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib import metadata
from os import PathLike
from pathlib import Path

# Everything that can change a score: tensors, models, decoders.
DISTRIBUTIONS = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "transformers",
    "diffusers",
    "peft",
    "timm",
    "tokenizers",
    "numpy",
    "pillow",
    "av",
    "opencv-python-headless",
)


def versions() -> dict[str, str]:
    """Versions of the libraries that can change a score, of those that are installed."""
    installed = {name: _version(name) for name in DISTRIBUTIONS}
    return {
        "rewardkit": _version("visual-rewardkit") or "not installed",  # run from a source tree
        "python": platform.python_version(),
        **{name: version for name, version in installed.items() if version is not None},
    }


def sha256_file(path: str | PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal, read in pieces.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The SHA-256 of a text as UTF-8, in hexadecimal."""
    # surrogatepass: a prompt with half of a surrogate pair is odd, but has a checksum too.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def now() -> str:
    """The time in UTC, to the second, as ISO 8601: 2025-01-31T12:00:00+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
