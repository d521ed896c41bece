"""A file at a pinned address: downloaded once into the cache, known by its checksum."""

from __future__ import annotations

import shutil
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import urlopen

from rewardkit.errors import InputError, describe
from rewardkit.records.provenance import sha256_file
from rewardkit.records.storage import atomic_write

_SECONDS = 30.0


def fetch(url: str, sha256: str) -> Path:
    """The file at `url` on this machine, `$HF_HOME/rewardkit/files/<sha256><suffix>`.

    Args:
        url: its address.
        sha256: its checksum, or at least the first eight digits of it.

    `HF_HUB_OFFLINE` is honoured: then only a file that is already there is returned.

    Raises:
        InputError: it cannot be downloaded, or what is there has another checksum.
    """
    from huggingface_hub import constants

    suffix = PurePosixPath(urlsplit(url).path).suffix
    path = Path(constants.HF_HOME, "rewardkit", "files", sha256 + suffix)
    if path.is_file() and sha256_file(path).startswith(sha256):
        return path
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            f"{url} is not on this machine and HF_HUB_OFFLINE is set: put the file at {path}"
        )
    with atomic_write(path) as temporary:
        try:
            with urlopen(url, timeout=_SECONDS) as response, temporary.open("wb") as file:
                shutil.copyfileobj(response, file)
        except (OSError, HTTPException) as error:
            raise InputError(
                f"{url} cannot be downloaded: {describe(error)}. Put the file at {path}"
            ) from error
        found = sha256_file(temporary)
        if not found.startswith(sha256):
            raise InputError(
                f"{url} is not the expected file: its sha256 is {found}, not {sha256}. "
                f"Put the right one at {path}"
            )
    return path
