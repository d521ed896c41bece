"""What people were asked: a prompt and pictures or clips of it; and how they ranked them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from rewardkit.media.batch import Kind
from rewardkit.records.provenance import sha256_text

# The tag of questions that have none.
UNTAGGED = "all"


@final
@dataclass(frozen=True)
class Question:
    """Pictures or clips of one prompt that people ranked.

    Attributes:
        prompt: the text.
        media: two or more, as paths below the folder of the set.
        ranking: of each, the lowest preferred; equal numbers are a tie.
        tag: the part of the set it belongs to.
    """

    prompt: str
    media: tuple[str, ...]
    ranking: tuple[float, ...]
    tag: str = UNTAGGED

    @property
    def cluster(self) -> str:
        """The name of its prompt. Answers to one prompt, asked twice, are not independent."""
        return sha256_text(self.prompt)[:16]


@final
@dataclass(frozen=True)
class PreferenceSet:
    """All questions of a set, in order.

    Attributes:
        name: as results and tables call it.
        source: where its annotations are from.
        folder: what the paths of its files are relative to.
        questions: those that were answered.
        missing: how many lines of the published set are not there.
        kind: of its files.
    """

    name: str
    source: str
    folder: Path
    questions: Sequence[Question]
    missing: int = 0
    kind: Kind = "image"

    @property
    def noun(self) -> str:
        """What one of its files is called in messages; its plural adds an "s"."""
        return "clip" if self.kind == "video" else "picture"

    @property
    def sha256(self) -> str:
        """SHA-256 of the questions."""
        said = [
            [question.prompt, question.media, question.ranking, question.tag]
            for question in self.questions
        ]
        return sha256_text(json.dumps(said))

    @property
    def prompts_sha256(self) -> str:
        """SHA-256 of their prompts, in order."""
        return sha256_text(json.dumps([question.prompt for question in self.questions]))
