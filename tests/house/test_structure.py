"""Files stay small, and none imports a file that imports it back."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("rewardkit", "grpo", "benchmarks", "leaderboards")
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
LONGEST = 300


def imports(path, files):
    """The modules of `files` that a file imports: at its top, in functions, and for types alone."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name and name not in files:  # a class or a function of a module
                name = name.rpartition(".")[0]
            if name:
                yield name


def circles(files):
    """The largest sets of modules of which each imports, in some steps, all others of its set."""
    direct = {name: set(imports(path, files)) - {name} for name, path in files.items()}

    def reached(name):
        found, left = set(), [name]
        while left:
            new = direct[left.pop()] - found
            found |= new
            left += new
        return found

    below = {name: reached(name) for name in direct}
    found = {
        frozenset(other for other in below[name] if name in below[other])
        for name in below
        if name in below[name]
    }
    return [set(circle) for circle in found]


def test_no_two_files_import_each_other():
    found = [sorted(circle) for circle in circles(FILES)]
    assert not found, f"these import each other: {found}"


def test_a_circle_is_found_whatever_its_length_and_wherever_it_imports(tmp_path):
    texts = {
        "a": "import b",
        "b": "def f():\n    from c import g",
        "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import T",
        "d": "import a, d_is_no_file",
    }
    files = {name: tmp_path / f"{name}.py" for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    assert circles(files) == [{"a", "b", "c"}]


def test_no_file_is_too_long():
    long = {
        str(path.relative_to(ROOT))
        for path in FILES.values()
        if len(path.read_text("utf-8").splitlines()) > LONGEST
    }
    assert not long, f"more than {LONGEST} lines: {sorted(long)}"
