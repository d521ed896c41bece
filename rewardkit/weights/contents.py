"""What a repository or a folder holds, before it is decided which of its files are the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import WeightsError, describe
from rewardkit.records.documents import read_json
from rewardkit.weights.client import NotDownloaded, download_file, list_files
from rewardkit.weights.hub import local_copy, recorded
from rewardkit.weights.pins import Snapshot
from rewardkit.weights.shards import names_in


@dataclass(frozen=True)
class Contents:
    """The files of a repository at one commit, or of a folder on this machine.

    Attributes:
        repo: owner/name, or the folder.
        names: of the files.
        commit: of the repository; None of a folder.
        folder: on this machine; None of a repository.
    """

    repo: str
    names: frozenset[str]
    commit: str | None = None
    folder: Path | None = None

    @classmethod
    def of(cls, snapshot: Snapshot) -> Contents:
        """Those of the repository or folder that `snapshot` names, whatever its patterns.

        They are taken from `REWARDKIT_WEIGHTS`, from what the first download recorded, or from the
        hub, the first that has them.

        Raises:
            WeightsError: there is no such folder, or the hub cannot say.
        """
        repo, local = snapshot.repo, local_copy(snapshot)
        folder = Path(repo) if snapshot.host == "folder" else local
        if folder is not None:
            if not folder.is_dir():
                raise WeightsError(f"{snapshot.label}: there is no folder {folder}")
            return cls(repo, frozenset(names_in(folder)), folder=folder)
        lock = recorded(snapshot)
        if lock is not None:
            return cls(repo, frozenset(lock["files"]), lock["revision"])
        try:
            commit, names = list_files(repo, snapshot.revision)
        except NotDownloaded as error:
            raise WeightsError(
                f"{snapshot.label} are not on this machine, and their files cannot be listed: "
                f"{str(error)[:400].rstrip('.')}. Check the name {repo}; without a network, put "
                f"the folder {snapshot.stem} into the one that REWARDKIT_WEIGHTS names"
            ) from error.__cause__
        return cls(repo, frozenset(names), commit)

    def read(self, file: str) -> dict[str, Any]:
        """The object that a JSON file holds, downloaded where it is not there.

        Raises:
            WeightsError: it cannot be had, or holds something else.
        """
        try:
            folder = self.folder or download_file(self.repo, [file], self.commit, None)[0]
            value = read_json(folder / file)
        except (NotDownloaded, OSError, ValueError) as error:
            raise WeightsError(
                f"{file} of {self.repo} cannot be read: {describe(error)}"
            ) from error
        if not isinstance(value, dict):
            raise WeightsError(f"{file} of {self.repo} holds no object. Save or download it again")
        return value

    def checkpoint(self, *stems: str) -> tuple[str, ...]:
        """The files of one set of weights: of the first stem and format that there are.

        Args:
            stems: names without their suffix, such as "model".

        Raises:
            WeightsError: there are no weights of these names.
        """
        for suffix in ("safetensors", "bin"):
            for stem in stems:
                if f"{stem}.{suffix}" in self.names:
                    return (f"{stem}.{suffix}",)
                if (index := f"{stem}.{suffix}.index.json") in self.names:
                    return (index, f"{stem}-*-of-*.{suffix}")
        raise WeightsError(
            f"{self.repo} holds no weights: {' or '.join(f'{s}.safetensors' for s in stems)} is "
            "expected, whole or in shards, or the same with .bin"
        )
