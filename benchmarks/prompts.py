"""The prompts of a benchmark: its cases, in order, and the parts of the benchmark they serve."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from rewardkit.records.provenance import sha256_file, sha256_text

#: Joins the tags of a case that serves several parts of a benchmark.
JOIN = "+"


@final
@dataclass(frozen=True)
class Case:
    """A prompt of a benchmark.

    Attributes:
        index: its place in the whole list, which also decides its random seeds.
        tags: the parts of the benchmark it serves: one, or several.
        prompt: the text.
        meta: the other keys of its line, which rewards may read.
        references: the files of the pictures that it starts from, by name, such as "first_frame".
    """

    index: int
    tags: tuple[str, ...]
    prompt: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Path] = field(default_factory=dict)

    @property
    def stratum(self) -> str:
        """Its tags as one name. Prompts are resampled among those with the same tags."""
        return JOIN.join(self.tags)

    def id(self, sample: int) -> str:
        """The name of a sample in results: stratum, prompt and sample, `colors/00270-03`."""
        return f"{self.stratum}/{self.index:05d}-{sample:02d}"


@final
@dataclass(frozen=True)
class PromptSet:
    """All prompts of a benchmark, in order, and where they are from."""

    source: str
    cases: Sequence[Case]

    @property
    def sha256(self) -> str:
        """The checksum of everything the cases say, and of the pictures they start from."""
        lines: list[list[Any]] = [
            [case.stratum, case.prompt, dict(case.meta)] for case in self.cases
        ]
        for line, case in zip(lines, self.cases, strict=True):
            if case.references:
                line.append({name: sha256_file(path) for name, path in case.references.items()})
        # A parquet file may hold what JSON has no form for, such as dates.
        return sha256_text(json.dumps(lines, sort_keys=True, ensure_ascii=False, default=str))
