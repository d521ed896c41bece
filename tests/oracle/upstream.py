"""Parts of an upstream repository, run as they are where the file they are in cannot be imported.

Trainers are scripts: importing one starts it, or wants eight devices.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any


def commit(clone: Path) -> str:
    """What is checked out."""
    head = ["git", "-C", clone, "rev-parse", "HEAD"]
    return subprocess.check_output(head, text=True).strip()


def module(file: Path) -> ModuleType:
    """A file that stands alone, imported."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def function(file: Path, name: str, **namespace: Any) -> Callable[..., Any]:
    """A function of a file, which sees `namespace`."""
    tree = ast.parse(file.read_text("utf-8"))
    (found,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name
    )
    exec(compile(ast.Module([found], []), file, "exec"), namespace)
    return namespace[name]


def passage(file: Path, first: str, last: str) -> CodeType:
    """The lines from the one that begins with `first` to the next that begins with `last`.

    To be run by `exec`, in a namespace with what they read.
    """
    lines = file.read_text("utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().startswith(first))
    end = next(i for i in range(start, len(lines)) if lines[i].strip().startswith(last))
    return compile(textwrap.dedent("\n".join(lines[start : end + 1])), file, "exec")
