"""Where a row comes from: sections of terms and texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.results import Result
from leaderboards.board import Board, BoardEntry
from leaderboards.page.command import command
from leaderboards.published import PublishedRow
from rewardkit.media.task import noun_of


class DetailsSection(NamedTuple):
    """A heading, and texts by term."""

    title: str
    terms: tuple[tuple[str, str], ...]


class Details(NamedTuple):
    """What the drawer of a row shows.

    Attributes:
        command: what makes the result, part by part; empty of published ones.
        sections: in order.
    """

    command: tuple[str, ...]
    sections: tuple[DetailsSection, ...]


def details(board: Board, entry: BoardEntry) -> Details:
    """The details of a row."""
    if entry.published is not None:
        return Details((), _published(entry.published))
    assert entry.result is not None, "what is not published was measured"
    return Details(command(entry.result), _measured(board, entry, entry.result))


def _measured(board: Board, entry: BoardEntry, result: Result) -> tuple[DetailsSection, ...]:
    model, prompts, media = result.model, result.prompts, result.media
    nouns = f"{noun_of(board.task)}s"
    differs = {difference.setting for difference in entry.differs}
    protocol = {
        f"{name} ≠" if name in differs else name: value for name, value in entry.protocol.items()
    }
    return _sections(
        {
            "Result": {
                f"{nouns} scored": f"{result.n_scored} of {result.n_expected}",
                "not ranked": entry.unranked,
                "shard": result.shard,
                **result.figures,
                "created": result.created,
                "device": result.device,
                "file": entry.path and entry.path.name,
                "rows": result.rows,
            },
            "Model": {
                "name": model.name,
                "alias": model.alias,
                "source": model.source,
                "revision": model.revision,
                "LoRA": model.lora,
            },
            "Trained on": _flat(model.trained_on or {}),
            "Protocol": protocol or {"": f"unknown: the {nouns} were made elsewhere"},
            f"Prompts and {nouns}": {
                "benchmark": f"{board.benchmark}, version {board.version}",
                "prompts": f"{prompts.number}, {prompts.source}",
                "prompts sha256": prompts.sha256,
                f"{nouns} made": "here" if media.made_here else "elsewhere",
                f"{nouns} folder": media.folder,
                f"{nouns} sha256": media.sha256,
            },
            "Rewards": _flat({**result.rewards, **result.weights}),
            "Versions": result.versions,
        }
    )


def _published(row: PublishedRow) -> tuple[DetailsSection, ...]:
    rewritten = None if row.rewriter is None else "yes" if row.rewriter else "no"
    return _sections(
        {
            "Published, not measured here": {
                "source": row.source,
                "evidence": "the source was read"
                if row.evidence == "read"
                else "a copy of what the source says was read",
                "measured again": "yes" if row.verified else "no",
                "note": row.note,
            },
            "Model": {"name": row.model, "weights": row.weights, "trained on": row.trained_on},
            "Protocol, as far as the source tells": {
                "size": row.resolution,
                "steps": row.steps,
                "guidance": row.guidance,
                "prompts rewritten": rewritten,
                "evaluator": row.evaluator,
            },
        }
    )


def _sections(texts: Mapping[str, Mapping[str, Any]]) -> tuple[DetailsSection, ...]:
    """Without what is unknown."""
    found = (
        DetailsSection(
            title, tuple((name, _text(value)) for name, value in terms.items() if value is not None)
        )
        for title, terms in texts.items()
    )
    return tuple(section for section in found if section.terms)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings, by dotted name."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, Mapping)
        found |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
