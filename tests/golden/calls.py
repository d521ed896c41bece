"""Golden files of functions of tensors: what other code returned for the same arguments."""

from __future__ import annotations

from typing import Any

import torch
from golden.cases import FOLDER
from pydantic import BaseModel, ConfigDict


class Call(BaseModel):
    """Arguments and what they gave; tensors are nested lists."""

    model_config = ConfigDict(extra="forbid")

    arguments: dict[str, Any]
    results: dict[str, Any]


class Calls(BaseModel):
    """The golden file of one repository.

    Attributes:
        upstream: repository@commit.
        command: run from this repository's root, writes the file again.
        versions: of the libraries that can change a number.
        functions: upstream's, by file and name, and calls of each.
    """

    model_config = ConfigDict(extra="forbid")

    upstream: str
    command: str
    versions: dict[str, str]
    functions: dict[str, list[Call]]

    def write(self, name: str) -> None:
        """Write the file."""
        text = self.model_dump_json(indent=None)
        (FOLDER / "grpo" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def load(name: str, function: str) -> list[Call]:
    """The calls of a function, of which there are several or none would notice a constant."""
    file = FOLDER / "grpo" / f"{name}.json"
    calls = Calls.model_validate_json(file.read_bytes()).functions[function]
    assert len(calls) > 1
    return calls


def call(arguments: dict[str, Any], results: dict[str, Any]) -> Call:
    """A call whose tensors are on their way into a file."""
    return Call(arguments=_plain(arguments), results=_plain(results))


def numbers(seed: int, *shape: int) -> torch.Tensor:
    """Normal numbers, exact in a few digits of a file; float32."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 64).round() / 64


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(value.tolist()) if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value  # 9 digits are float32
