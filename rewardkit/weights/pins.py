"""Which weights: one pinned file, or a snapshot of many; and what was found on this machine."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, Self, final

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from rewardkit.records.provenance import sha256_text


class _Pin(BaseModel, ABC):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    repo: str
    revision: str | None = None
    sha256: str | None = None
    licence: str

    @property
    @abstractmethod
    def contents(self) -> str:
        """The files, for people."""

    @property
    def label(self) -> str:
        """How errors begin."""
        return f"weights of {self.name}"

    @property
    def place(self) -> str:
        """The repository, for people: a bare owner/name is one on the hub."""
        return self.repo

    @property
    def stem(self) -> str:
        """Its name in a folder of weights, where a file has its suffix behind it."""
        return re.sub("[:/]", "--", self.name)


@final
class PinnedFile(_Pin):
    """One file of weights, or of data: on the hub, on GitHub, in a package, or elsewhere (`host`).

    Attributes:
        name: how `--weights NAME=PATH` and `REWARDKIT_WEIGHTS` call it.
        repo: owner/name; of a package, the name it is imported by; of a file that is made here,
            the address of what it is made of.
        kind: of the file; the hub keeps repositories of data apart.
        host: where the repository is. What is on GitHub must be pinned; what a package carries
            can be by its sha256, and has no revision. "torch" is what download.pytorch.org has,
            under a name that ends in the first digits of its sha256. "made" is a file that the
            user has a command of ours make, in `$HF_HOME/rewardkit/made`.
        files: accepted file names; the first that the repository has is taken. In a package they
            are paths inside it.
        revision: commit of the repository, where it has been verified; else None, and the first
            download decides and is recorded.
        sha256: of the file, where it has been verified; else None.
        made_by: what to do where a file that is made here is not there; None of any other.
        requirement: of a package, which version of which distribution carries the file with this
            sha256, as pip takes it; None where it is not known.
        licence: of the weights.
    """

    kind: Literal["weights", "data"] = "weights"
    host: Literal["hub", "github", "torch", "package", "made"] = "hub"
    files: tuple[str, ...] = Field(min_length=1)
    made_by: str | None = None
    requirement: str | None = None

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.host == "github" and not (self.revision and self.sha256 and len(self.files) == 1):
            raise ValueError(f"{self.name}: a file on GitHub needs its revision and its sha256")
        if self.host == "torch" and (len(self.files) != 1 or not self.digits):
            raise ValueError(f"{self.name}: a file of torch has a name like raft-22a6c225.pth")
        if self.host == "package" and self.revision:
            raise ValueError(f"{self.name}: a file of a package has no revision")
        if self.host == "made" and (self.revision or self.sha256):
            raise ValueError(f"{self.name}: a file that is made here cannot be pinned")
        if (self.host == "made") != (self.made_by is not None):
            raise ValueError(f"{self.name}: made_by is for what is made here, and says how")
        if self.requirement and not (self.host == "package" and self.sha256):
            raise ValueError(f"{self.name}: a requirement is for a package with a sha256")
        return self

    @property
    def digits(self) -> str:
        """The first digits of its sha256, where its name has them, as torch.hub reads them."""
        found = re.search(r"-([0-9a-f]{8,})\.", self.files[0])
        return found[1] if found else ""

    @property
    def contents(self) -> str:
        """The files that are accepted, for people."""
        return " or ".join(self.files)

    @property
    def label(self) -> str:
        """How errors begin."""
        return f"{'weights' if self.kind == 'weights' else 'the data'} of {self.name}"

    @property
    def place(self) -> str:
        """The repository, for people: a bare owner/name is one on the hub."""
        before = {"github": "github.com/", "package": "package ", "made": "made of "}
        return before.get(self.host, "") + self.repo


@final
class Snapshot(_Pin):
    """Many files of one commit of a repository on the hub, in one folder.

    Attributes:
        name: how `--weights NAME=FOLDER` and `REWARDKIT_WEIGHTS` call it.
        repo: owner/name; of a folder on this machine, its path.
        host: where the repository is.
        patterns: which files, such as "*.json" and "*.safetensors"; `*` matches `/` too. They must
            name one set of weights, not the same in two formats.
        revision: commit of the repository, where it has been verified; else None, and the first
            download decides and is recorded.
        sha256: of the names and checksums of all files (`Located.sha256`), where it has been
            verified; else None.
        licence: of the weights.
    """

    host: Literal["hub", "folder"] = "hub"
    patterns: tuple[str, ...] = Field(min_length=1)

    @property
    def contents(self) -> str:
        """The patterns, for people."""
        return ", ".join(self.patterns)

    def has(self, file: str) -> bool:
        """Whether a file of the repository belongs to it."""
        return any(fnmatch(file, pattern) for pattern in self.patterns)


class Located(BaseModel):
    """Weights on this machine: what a result records of them.

    Attributes:
        path: of the file, or of the folder.
        source: where they are from.
        revision: commit of the repository; None where the user gave them.
        files: the sha256 of each file, by its name in the repository or folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    source: str
    revision: str | None
    files: dict[str, str]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sha256(self) -> str:
        """SHA-256 of the file; for a folder, of the lines `CHECKSUM  NAME` of its files by name."""
        if self.path.is_file():
            (sha256,) = self.files.values()
            return sha256
        return sha256_text("".join(f"{self.files[name]}  {name}\n" for name in sorted(self.files)))
