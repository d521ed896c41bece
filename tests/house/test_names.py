"""One name means one thing in the whole tree."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("rewardkit", "grpo", "benchmarks", "leaderboards")
#: Names that two files may define, each with why.
SHARED: dict[str, str] = {}


def public_classes():
    """The files that define a public class, by its name."""
    files = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    files[node.name].append(str(path.relative_to(ROOT)))
    return files


def test_no_two_public_classes_share_a_name():
    shared = {name: files for name, files in public_classes().items() if len(files) > 1}
    assert {name: files for name, files in shared.items() if name not in SHARED} == {}
    assert shared.keys() == SHARED.keys(), "a name that is no longer shared leaves the list"
