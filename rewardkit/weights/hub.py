"""Where weights come from: one pinned file each, checked, the same on every load.

A `Weights` names a file. `locate` finds it: a path the user gave (`--weights NAME=PATH`), the
folder in `REWARDKIT_WEIGHTS`, the package that carries it, the hub, or where a command made it.
What the hub gave first is recorded (commit and sha256) in `$HF_HOME/rewardkit/weights.json`, and
every later load asks for that commit and compares, so a repository that changes under a name cannot
change a score in silence. `HF_HUB_OFFLINE` is honoured by the hub's own client.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rewardkit.errors import InputError, UsageError, WeightsError, describe
from rewardkit.records.provenance import sha256_file
from rewardkit.weights.fetch import fetch
from rewardkit.weights.memory import checksum, home, record, records
from rewardkit.weights.quiet import without_retries

_GITHUB = "https://raw.githubusercontent.com/{repo}/{revision}/{file}"


class Weights(BaseModel):
    """One file of weights, or of data: on the hub, on GitHub, in a package, or made here.

    Attributes:
        name: how `--weights NAME=PATH` and `REWARDKIT_WEIGHTS` call it.
        repo: owner/name; of a package, the name it is imported by; of a file that is made here,
            the address of what it is made of.
        kind: of the file; the hub keeps repositories of data apart.
        host: where the repository is. What is on GitHub must be pinned; what a package carries
            cannot be, for the package's version decides. "made" is a file that the user has a
            command of ours make, in `$HF_HOME/rewardkit/made`.
        files: accepted file names; the first that the repository has is taken. In a package they
            are paths inside it.
        revision: commit of the repository, where it has been verified; else None, and the first
            download decides and is recorded.
        sha256: of the file, where it has been verified; else None.
        made_by: what to do where a file that is made here is not there; None of any other.
        licence: of the weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    repo: str
    kind: Literal["weights", "data"] = "weights"
    host: Literal["hub", "github", "package", "made"] = "hub"
    files: tuple[str, ...] = Field(min_length=1)
    revision: str | None = None
    sha256: str | None = None
    made_by: str | None = None
    licence: str

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.host == "github" and not (self.revision and self.sha256 and len(self.files) == 1):
            raise ValueError(f"{self.name}: a file on GitHub needs its revision and its sha256")
        if self.host in ("package", "made") and (self.revision or self.sha256):
            raise ValueError(f"{self.name}: a file of a package, or made here, cannot be pinned")
        if (self.host == "made") != (self.made_by is not None):
            raise ValueError(f"{self.name}: made_by is for what is made here, and says how")
        return self

    @property
    def label(self) -> str:
        """How errors begin."""
        return f"{'weights' if self.kind == 'weights' else 'the data'} of {self.name}"

    @property
    def place(self) -> str:
        """The repository, for people: a bare owner/name is one on the hub."""
        before = {"hub": "", "github": "github.com/", "package": "package ", "made": "made of "}
        return before[self.host] + self.repo


class Located(BaseModel):
    """A file of weights on this machine: what a result records of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    source: str
    revision: str | None
    sha256: str


def locate(weights: Weights, overrides: Mapping[str, Path]) -> Located:
    """The file of `weights` on this machine, downloaded where it must be.

    Raises:
        WeightsError: the file is nowhere to be had, or it is not the one that was pinned here or
            recorded at the first download.
    """
    local = overrides.get(weights.name) or _in_folder(weights)
    if local is not None:
        if not local.is_file():
            raise WeightsError(f"{weights.label}: {local} is not a file")
        # A file the user chose is not compared with the pin: its checksum goes into the result.
        return Located(path=local, source=str(local), revision=None, sha256=checksum(local))
    return download(weights)


def download(weights: Weights) -> Located:
    """The file of `weights` in its package or in the cache, downloaded where it is not there.

    A local file that the user gave instead is left aside.

    Raises:
        WeightsError: as for `locate`.
    """
    match weights.host:
        case "hub":
            return _from_hub(weights)
        case "github":
            return _from_github(weights)
        case "package":
            return _from_package(weights)
        case "made":
            return _made(weights)


def made_path(weights: Weights) -> Path:
    """Where a file that is made on this machine is looked for."""
    return home() / "made" / weights.files[0]


def recorded(weights: Weights) -> dict[str, Any] | None:
    """What the first download of `weights` recorded: repo, file, revision, sha256; None before."""
    entry = records().get(weights.name)
    return entry if entry is not None and entry["repo"] == weights.repo else None


def parse_overrides(pairs: tuple[str, ...] | list[str]) -> dict[str, Path]:
    """`NAME=PATH` strings as a mapping; a path that does not exist is a UsageError."""
    overrides = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--weights takes NAME=PATH; {pair!r} was given")
        if not Path(path).is_file():
            raise UsageError(f"--weights {name}: there is no file {path}")
        overrides[name.casefold()] = Path(path)
    return overrides


def _in_folder(weights: Weights) -> Path | None:
    folder = os.environ.get("REWARDKIT_WEIGHTS")
    if not folder:
        return None
    # NAME.<suffix of an accepted file>; names hold dots, so the suffix is appended, not replaced.
    suffixes = dict.fromkeys([".safetensors", *(Path(file).suffix for file in weights.files)])
    candidates = [Path(folder, weights.name + suffix) for suffix in suffixes]
    return next((path for path in candidates if path.is_file()), None)


def _from_hub(weights: Weights) -> Located:
    lock = recorded(weights)
    revision = weights.revision or (lock["revision"] if lock else None)
    path, file = _download(weights, [lock["file"]] if lock else weights.files, revision)
    # The hub's client keeps every file as snapshots/<commit>/<file>, which may lie in folders.
    commit = path.parents[len(PurePosixPath(file).parts) - 1].name
    sha256 = checksum(path)
    expected = weights.sha256 or (lock["sha256"] if lock else None)
    if expected is not None and sha256 != expected:
        raise WeightsError(
            f"{weights.label} have changed: {path} has sha256 {sha256[:12]}…, expected "
            f"{expected[:12]}… (commit {revision}). Delete the file to download it again"
        )
    if lock is None:
        entry = {"repo": weights.repo, "file": file, "revision": commit, "sha256": sha256}
        record(weights.name, entry)
    source = f"{weights.repo}/{file}"
    return Located(path=path, source=source, revision=commit, sha256=sha256)


def _download(
    weights: Weights, files: tuple[str, ...] | list[str], revision: str | None
) -> tuple[Path, str]:
    """The first of `files` that there is, and which one it is."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    failure: Exception | None = None
    for file in files:
        try:
            kind = "dataset" if weights.kind == "data" else None
            with without_retries():
                path = hf_hub_download(weights.repo, file, revision=revision, repo_type=kind)
            return Path(path), file
        except LocalEntryNotFoundError as error:  # offline, or unreachable, and not in the cache
            failure = error
        except EntryNotFoundError as error:  # the repository does not have this file: try the next
            failure = error
        except (HfHubHTTPError, OSError) as error:
            failure = error
            break
    assert failure is not None
    raise _unavailable(weights, files, describe(failure)) from failure


def _from_github(weights: Weights) -> Located:
    assert weights.revision is not None and weights.sha256 is not None
    (file,) = weights.files
    try:
        path = fetch(
            _GITHUB.format(repo=weights.repo, revision=weights.revision, file=quote(file)),
            weights.sha256,
        )
    except InputError as error:
        raise _unavailable(weights, weights.files, describe(error)) from error
    source = f"{weights.place}/{file}"
    return Located(path=path, source=source, revision=weights.revision, sha256=weights.sha256)


def _from_package(weights: Weights) -> Located:
    try:
        package = resources.files(weights.repo)
    except ImportError as error:
        raise WeightsError(
            f"{weights.label} come with the {weights.place}, which cannot be imported: "
            f"{describe(error)}. Install it, or give a file with --weights {weights.name}=PATH"
        ) from error
    for file in weights.files:
        path = package / file
        if isinstance(path, Path) and path.is_file():  # inside a zip it is no Path
            source = f"{weights.place}/{file}"
            return Located(path=path, source=source, revision=None, sha256=sha256_file(path))
    raise WeightsError(
        f"{weights.label}: the {weights.place} has no file {' or '.join(weights.files)}. "
        f"Install it anew, unpacked, or give a file with --weights {weights.name}=PATH"
    )


def _made(weights: Weights) -> Located:
    path = made_path(weights)
    if not path.is_file():
        raise WeightsError(
            f"{weights.label} are made on this machine, and {path} is not there: {weights.made_by}"
        )
    return Located(path=path, source=weights.place, revision=None, sha256=checksum(path))


def _unavailable(weights: Weights, files: tuple[str, ...] | list[str], reason: str) -> WeightsError:
    local = f"Give a local file with --weights {weights.name}=PATH, or put"
    return WeightsError(
        f"{weights.label} ({weights.place}: {' or '.join(files)}) are not on this machine and "
        f"could not be downloaded: {reason[:400].rstrip('.')}. "
        f"{local if weights.kind == 'weights' else 'Or put'} "
        f"{weights.name}{Path(files[0]).suffix} into the folder that REWARDKIT_WEIGHTS names"
    )
