"""Reading result files, of this version of the schema and of older ones, and their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.results import SCHEMA, Result
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.records.documents import DamagedDocument, read_json
from rewardkit.records.rows import Table, read_rows


def read_result(path: str | Path) -> Result:
    """The result in a file; `Result.frame` then has its rows.

    Raises:
        InputError: there is no such file, it is not a result, or a newer rewardkit wrote it.
    """
    path = Path(path)
    try:
        document = read_json(path)
    except (OSError, DamagedDocument) as error:
        reason = f"it is {error.reason}" if isinstance(error, DamagedDocument) else describe(error)
        raise InputError(f"{path} cannot be read as a result: {reason}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path} is no result of `rewardkit bench`: it has no schema_version")
    if version > SCHEMA:
        raise InputError(
            f"{path} has version {version} of the schema of results, and this rewardkit reads up "
            f"to {SCHEMA}: update rewardkit"
        )
    try:
        result = Result.model_validate(_from_first(document) if version == 1 else document)
        # What a model or a protocol says of itself may be anything that JSON can hold.
        json.dumps(document, allow_nan=False)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = "".join(f"{part}: " for part in [".".join(map(str, wrong["loc"]))] if part)
        why = wrong["msg"].removeprefix("Value error, ")
        raise InputError(f"{path} is damaged: {place}{why}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {describe(error)}") from error
    return result.beside(path.parent)


def _from_first(document: dict[str, Any]) -> dict[str, Any]:
    """A document of the first version in the form of the second.

    There `pictures` was the name of `media`, and `headline` said how a reward's scores were
    averaged: "tasks", the mean of the means of tasks, or "items", the mean of all.
    """
    found = {**document, "schema_version": 2}
    if "pictures" in found:
        found["media"] = found.pop("pictures")
    info = found.get("benchmark")
    if isinstance(info, dict) and "headline" in info:
        rest = {key: value for key, value in info.items() if key != "headline"}
        reward = info.get("metric")
        tags = _tasks(document, reward) if info["headline"] == "tasks" else [None]
        known = info["headline"] in ("tasks", "items")
        criteria = [{"reward": reward, "tag": tag} for tag in tags] if known else info["headline"]
        found["benchmark"] = {**rest, "criteria": criteria}
    return found


def _tasks(document: dict[str, Any], reward: Any) -> list[str]:
    """The tasks of a reward, as far as a document says any."""
    try:
        return list(document["metrics"][reward]["tasks"])
    except (KeyError, TypeError):
        return []


def read_table(result: Result, path: Path) -> Table:
    """The rows of the result at `path`.

    Raises:
        InputError: they cannot be read, or belong to another result.
    """
    rows = path.parent / result.rows
    try:
        table = read_rows(rows)
    except UsageError as error:
        raise InputError(f"{path} names {rows.name} as its rows: {error}") from error
    of_rewards = {name for name in result.metrics if not result.benchmark.is_total(name)}
    if set(table.rewards) != of_rewards:
        raise InputError(
            f"{rows} has scores of {', '.join(table.rewards)}, and {path} is about "
            f"{', '.join(result.metrics)}: they are not of one run"
        )
    return table
