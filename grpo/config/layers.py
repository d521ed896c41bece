"""Methods and recipes: TOML files that fill parts of a configuration.

    about = "one line"              what the table of methods or recipes shows
    source = "https://..."          of a method: its paper
    trained_at = "one line"         of a method: the model and size its numbers are from
    default_for = ["sd1.4", ...]    of a recipe: models, or classes of pipelines, it is taken for
    with_method_for = [...]         of a recipe: the same, but only where its method is given
    extends = "shapes-flow"         name or path of another, whose settings hold where this has none
    [page]                          of a method, the last table: formula, code, troubles (`Page`)
    everything else                 settings, as `grpo.config.fields` names them

Those of the package are in `grpo/methods` and `grpo/recipes`; a path that ends in .toml is a
file of the user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rewardkit.errors import InputError, unknown
from rewardkit.media.files import quoted, read_text
from rewardkit.records.documents import parse_toml, read_json

Kind = Literal["method", "recipe"]
# Settings that are tables themselves: the user chooses their keys.
_TABLES = {"scoring.weights", "objective.teachers"}


class Trouble(BaseModel):
    """A known trouble of a method; settings stand in backticks.

    Attributes:
        symptom: what a user sees.
        cure: what to do.
        source: where it is reported or measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    symptom: str
    cure: str
    source: str


class Page(BaseModel):
    """What a method computes, where, and what may go wrong; settings stand in backticks.

    Attributes:
        formula: what is computed, in plain text.
        code: the functions and classes that compute it, by dotted name -> what each is.
        troubles: symptoms and cures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    formula: str
    code: dict[str, str]
    troubles: list[Trouble]


class Header(BaseModel):
    """The keys of a file that are not settings."""

    model_config = ConfigDict(frozen=True, strict=True)

    about: str = ""
    source: str = ""
    trained_at: str = ""
    default_for: list[str] = []
    with_method_for: list[str] = []
    extends: str = ""
    page: Page | None = None


@dataclass(frozen=True)
class Layer:
    """A method or a recipe.

    Attributes:
        kind: which.
        name: a name of the package's, or a path.
        header: its other keys.
        settings: by dotted key, "optim.lr".
        text: the file, whose comments say where each number is from.
    """

    kind: Kind
    name: str
    header: Header
    settings: Mapping[str, object]
    text: str


def layer(kind: Kind, name: str, above: tuple[str, ...] = ()) -> Layer:
    """The method or recipe of that name, or at that path; `above` are those that extend it.

    Raises:
        UsageError: nothing has that name.
        InputError: the file cannot be read, is not TOML, or extends itself.
    """
    if name.endswith(".toml"):
        return _read(kind, name, Path(name), above)
    known = {path.stem: path for path in _packaged(kind)}
    if name not in known:
        raise unknown(kind, name, known, f"grpo {kind}s")
    return _read(kind, name, known[name], above)


def layers(kind: Kind) -> list[Layer]:
    """All methods or recipes of the package, by name."""
    return [_read(kind, path.stem, path) for path in _packaged(kind)]


def default_recipe(model: str, method: str | None) -> Layer | None:
    """The recipe for `model`, and for a method if one is named, where no recipe is.

    The model's name decides, or the name of the model that a run trained it from; then the class
    of its pipeline.
    """
    recipes = layers("recipe")
    for name in _families(model):
        for recipe in recipes:
            if method is None:
                fits = name in recipe.header.default_for
            else:
                models = recipe.header.default_for + recipe.header.with_method_for
                fits = name in models and method == recipe.settings["method"]
            if fits:
                return recipe
    return None


def flatten(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """A nested table as dotted keys with their values."""
    for key, value in table.items():
        if isinstance(value, dict) and f"{prefix}{key}" not in _TABLES:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _packaged(kind: Kind) -> list[Path]:
    return sorted((Path(__file__).parents[1] / f"{kind}s").glob("*.toml"))


def _read(kind: Kind, name: str, path: Path, above: tuple[str, ...] = ()) -> Layer:
    text = read_text(path)
    try:
        table = parse_toml(text, quoted(path))
        header = Header.model_validate(table)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise InputError(f"{quoted(path)}: {where}: {wrong['msg']}") from error
    settings = dict(flatten({k: v for k, v in table.items() if k not in Header.model_fields}))
    if header.extends:
        if name in above:
            raise InputError(f"{quoted(path)} extends itself, by way of {', '.join(above)}")
        settings = {**layer(kind, header.extends, (*above, name)).settings, **settings}
    return Layer(kind, name, header, settings, text)


def _families(model: str) -> list[str]:
    """The names of `model` in `default_for`, the most specific first."""
    from rewardkit.generators.aliases import ALIASES
    from rewardkit.generators.protocol import CARD

    name = model.casefold()
    named = [a for a in ALIASES.values() if name in (a.name, (a.repo or "").casefold())]
    if named:
        # One of the package has no class here: recipes of its class are for large models.
        return [named[0].name] + ([named[0].pipeline] if named[0].repo else [])
    base = _json(Path(model) / CARD).get("base")  # of a folder that a run has made
    if isinstance(base, dict) and base.get("alias") in ALIASES:
        return _families(base["alias"])
    return [str(_json(Path(model) / "model_index.json").get("_class_name", ""))]


def _json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none: loading the model reports that."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
