"""Where weights come from: pinned files and folders, checked, the same on every load.

A `PinnedFile` names one file, a `Snapshot` a folder of many: the shards of a large checkpoint with
its config and tokenizer. `locate` finds either: a path the user gave (`--weights NAME=PATH`), the
folder in `REWARDKIT_WEIGHTS`, the package that carries it, the hub, or where a command made it.
What the hub gave first is recorded (commit and sha256 of each file) in
`$HF_HOME/rewardkit/weights.json`, and every later load asks for that commit and compares, so a
repository that changes under a name cannot change a score in silence. `HF_HUB_OFFLINE` is honoured
by the hub's own client.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rewardkit.errors import InputError, UsageError, WeightsError, describe
from rewardkit.records.provenance import sha256_file
from rewardkit.weights.client import NotDownloaded, download_file, list_files
from rewardkit.weights.fetch import fetch
from rewardkit.weights.memory import checksum, home, record, records
from rewardkit.weights.pins import Located, PinnedFile, Snapshot
from rewardkit.weights.shards import check_shards, names_in

_GITHUB = "https://raw.githubusercontent.com/{repo}/{revision}/{file}"
_TORCH = "https://{repo}/{file}"


def locate(weights: PinnedFile | Snapshot, overrides: Mapping[str, Path]) -> Located:
    """Weights on this machine, downloaded where they must be.

    Raises:
        WeightsError: they are nowhere to be had, or are not those that were pinned here or recorded
            at the first download.
    """
    local = overrides.get(weights.name.casefold()) or local_copy(weights)
    if local is None:
        return download(weights)
    # What the user chose is not compared with the pin: its checksum goes into the result.
    if isinstance(weights, Snapshot):
        return _from_folder(weights, local)
    if not local.is_file():
        raise WeightsError(f"{weights.label}: {local} is not a file")
    files = {local.name: checksum(local)}
    return Located(path=local, source=str(local), revision=None, files=files)


def download(weights: PinnedFile | Snapshot) -> Located:
    """Weights in their package or in the cache, downloaded where they are not there.

    A local file or folder that the user gave instead is left aside.

    Raises:
        WeightsError: as for `locate`.
    """
    if isinstance(weights, Snapshot):
        if weights.host == "folder":
            return _from_folder(weights, Path(weights.repo))
        return _snapshot_from_hub(weights)
    match weights.host:
        case "hub":
            return _file_from_hub(weights)
        case "github":
            return _from_github(weights)
        case "torch":
            return _from_torch(weights)
        case "package":
            return _from_package(weights)
        case "made":
            return _made(weights)


def made_path(weights: PinnedFile) -> Path:
    """Where a file that is made on this machine is looked for."""
    return home() / "made" / weights.files[0]


def recorded(weights: PinnedFile | Snapshot) -> dict[str, Any] | None:
    """What the first download recorded: repo, revision, and the checksum of each file.

    Of a `PinnedFile` the keys are `file` and `sha256`, of a `Snapshot` `files`. None before it.
    """
    entry = records().get(weights.name)
    key = "files" if isinstance(weights, Snapshot) else "file"
    return entry if entry is not None and entry["repo"] == weights.repo and key in entry else None


def parse_overrides(pairs: tuple[str, ...] | list[str]) -> dict[str, Path]:
    """`NAME=PATH` strings as a mapping; a path that does not exist is a UsageError."""
    overrides = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (name and equals and path):
            raise UsageError(f"--weights takes NAME=PATH; {pair!r} was given")
        if not Path(path).exists():
            raise UsageError(f"--weights {name}: there is no file {path}")
        overrides[name.casefold()] = Path(path)
    return overrides


def local_copy(weights: PinnedFile | Snapshot) -> Path | None:
    """What a folder in `REWARDKIT_WEIGHTS` has of the weights; None where it has nothing."""
    folder = os.environ.get("REWARDKIT_WEIGHTS")
    if not folder:
        return None
    if isinstance(weights, Snapshot):
        inside = Path(folder, weights.stem)
        return inside if inside.is_dir() else None
    # NAME.<suffix of an accepted file>; names hold dots, so the suffix is appended, not replaced.
    suffixes = dict.fromkeys([".safetensors", *(Path(file).suffix for file in weights.files)])
    candidates = [Path(folder, weights.stem + suffix) for suffix in suffixes]
    return next((path for path in candidates if path.is_file()), None)


def _file_from_hub(weights: PinnedFile) -> Located:
    lock = recorded(weights)
    revision = weights.revision or (lock["revision"] if lock else None)
    files = [lock["file"]] if lock else weights.files
    kind = "dataset" if weights.kind == "data" else None
    try:
        folder, file, commit = download_file(weights.repo, files, revision, kind)
    except NotDownloaded as error:
        raise _unavailable(weights, str(error)) from error.__cause__
    path = folder / file
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
    return Located(path=path, source=source, revision=commit, files={file: sha256})


def _snapshot_from_hub(snapshot: Snapshot) -> Located:
    lock = recorded(snapshot)
    if lock is not None and snapshot.revision not in (None, lock["revision"]):
        lock = None  # of a commit that the pin has left behind
    try:
        if lock is None:
            commit, names = list_files(snapshot.repo, snapshot.revision)
        else:
            commit, names = lock["revision"], list(lock["files"])
        wanted = sorted(name for name in names if snapshot.has(name))
        for name in wanted:
            folder, _, _ = download_file(snapshot.repo, [name], commit, None)
    except NotDownloaded as error:
        raise _unavailable(snapshot, str(error)) from error.__cause__
    if not wanted:
        raise WeightsError(
            f"{snapshot.label}: {snapshot.repo} has no file {snapshot.contents} at commit {commit}"
        )
    extra = sorted(name for name in names_in(folder) if snapshot.has(name) and name not in wanted)
    if extra:
        raise WeightsError(
            f"{snapshot.label}: {folder} holds {extra[0]}, which the repository does not have at "
            "that commit. Delete the file"
        )
    files = _checked(snapshot, folder, wanted)
    located = Located(path=folder, source=snapshot.repo, revision=commit, files=files)
    if lock is not None and files != lock["files"]:
        changed = next(name for name in wanted if files[name] != lock["files"].get(name))
        raise WeightsError(
            f"{snapshot.label} have changed: {folder / changed} has sha256 {files[changed][:12]}…, "
            f"expected {lock['files'][changed][:12]}… (commit {commit}). Delete the file to "
            "download it again"
        )
    if snapshot.sha256 not in (None, located.sha256):
        raise WeightsError(
            f"{snapshot.label} have changed: the files in {folder} have together the sha256 "
            f"{located.sha256[:12]}…, expected {str(snapshot.sha256)[:12]}… (commit {commit}). "
            "Delete the folder to download them again"
        )
    if recorded(snapshot) is None:
        record(snapshot.name, {"repo": snapshot.repo, "revision": commit, "files": files})
    return located


def _from_folder(snapshot: Snapshot, folder: Path) -> Located:
    if not folder.is_dir():
        raise WeightsError(
            f"{snapshot.label}: {folder} is not a folder. Give the folder that holds "
            f"{snapshot.contents}"
        )
    names = sorted(name for name in names_in(folder) if snapshot.has(name))
    if not names:
        raise WeightsError(f"{snapshot.label}: {folder} holds no file {snapshot.contents}")
    files = _checked(snapshot, folder, names)
    return Located(path=folder, source=str(folder), revision=None, files=files)


def _checked(snapshot: Snapshot, folder: Path, names: list[str]) -> dict[str, str]:
    """The checksums of files that make up a whole checkpoint."""
    try:
        check_shards(folder, names, snapshot.has)
    except InputError as error:
        raise WeightsError(f"{snapshot.label}: {error}") from error
    return {name: checksum(folder / name) for name in names}


def _from_github(weights: PinnedFile) -> Located:
    assert weights.revision is not None and weights.sha256 is not None
    (file,) = weights.files
    try:
        path = fetch(
            _GITHUB.format(repo=weights.repo, revision=weights.revision, file=quote(file)),
            weights.sha256,
        )
    except InputError as error:
        raise _unavailable(weights, describe(error)) from error
    source, files = f"{weights.place}/{file}", {file: weights.sha256}
    return Located(path=path, source=source, revision=weights.revision, files=files)


def _from_torch(weights: PinnedFile) -> Located:
    (file,) = weights.files
    url = _TORCH.format(repo=weights.repo, file=quote(file))
    try:
        path = fetch(url, weights.sha256 or weights.digits)
    except InputError as error:
        raise _unavailable(weights, describe(error)) from error
    source, files = f"{weights.place}/{file}", {file: checksum(path)}
    return Located(path=path, source=source, revision=None, files=files)


def _from_package(weights: PinnedFile) -> Located:
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
            sha256 = sha256_file(path)
            if weights.sha256 not in (None, sha256):
                raise WeightsError(
                    f"the checksum of the {weights.label} differs in this version of the "
                    f"{weights.place}: {path} has sha256 {sha256[:12]}…, expected "
                    f"{str(weights.sha256)[:12]}…. Install "
                    f"{weights.requirement or 'the version that has it'}, or accept the file with "
                    f"--weights {weights.name}={path}"
                )
            source, files = f"{weights.place}/{file}", {file: sha256}
            return Located(path=path, source=source, revision=None, files=files)
    raise WeightsError(
        f"{weights.label}: the {weights.place} has no file {weights.contents}. "
        f"Reinstall it unpacked, or give a file with --weights {weights.name}=PATH"
    )


def _made(weights: PinnedFile) -> Located:
    path = made_path(weights)
    if not path.is_file():
        raise WeightsError(
            f"{weights.label} are made on this machine, and {path} is not there: {weights.made_by}"
        )
    files = {path.name: checksum(path)}
    return Located(path=path, source=weights.place, revision=None, files=files)


def _unavailable(weights: PinnedFile | Snapshot, reason: str) -> WeightsError:
    file = isinstance(weights, PinnedFile)
    local = f"Give a local {'file' if file else 'folder'} with --weights {weights.name}=PATH, or"
    if isinstance(weights, PinnedFile) and weights.kind == "data":
        local = "Or"
    suffix = Path(weights.files[0]).suffix if isinstance(weights, PinnedFile) else "/"
    return WeightsError(
        f"{weights.label} ({weights.place}: {weights.contents}) are not on this machine and "
        f"could not be downloaded: {reason[:400].rstrip('.')}. {local} put "
        f"{weights.stem}{suffix} into the folder that REWARDKIT_WEIGHTS names"
    )
