"""Rewards of the user's own: FILE.py:NAME is a function, or an `RewardEntry` made by a factory."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rewardkit.engine.card import RewardCard
from rewardkit.engine.extractor import RawMedia
from rewardkit.engine.loader import Loader
from rewardkit.engine.reward import Reward, RewardEntry
from rewardkit.errors import UsageError, describe, unknown
from rewardkit.media.batch import Batch, Sample

if TYPE_CHECKING:
    import torch


class FunctionReward(Reward):
    """A plain function as a reward: takes a `Batch`, media and all; returns B numbers."""

    def __init__(self, card: RewardCard, function: Callable[[Batch], Any]) -> None:
        self.card = card
        self.extractor = RawMedia()
        self._function = function

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """The function that `card.name`, FILE.py:FUNCTION, points at."""
        function = load_attribute(card.name)
        assert not isinstance(function, RewardEntry)
        return cls(card, function)

    def score(self, batch: Batch, features: Sequence[Sample]) -> torch.Tensor:
        """What the function returns, as a tensor. What it prints goes to stderr.

        Its errors get a note with the last line of the function's own file.
        """
        import torch

        try:
            # stdout is for the scores, which a printing function would mix with its own text.
            with contextlib.redirect_stdout(sys.stderr):
                returned = self._function(Batch(features))
        except BaseException as error:
            note_place(error, self.card.name.rpartition(":")[0])
            raise
        return torch.as_tensor(returned, dtype=torch.float32)


def note_place(error: BaseException, file: str | Path) -> None:
    """Note on `error` the last line of `file` that it came through."""
    places = traceback.extract_tb(error.__traceback__)
    line = next((p.lineno for p in reversed(places) if _same(p.filename, file)), None)
    if line is not None:
        error.add_note(f"{file}, line {line}")


def _same(name: str, file: str | Path) -> bool:
    return Path(name).resolve() == Path(file).resolve()


def entry_of(name: str) -> RewardEntry:
    """What FILE.py:NAME is, as the registry would hold it.

    Raises:
        UsageError: there is no such file or name, or the file cannot be run.
    """
    found, file = load_attribute(name), Path(name.rpartition(":")[0])
    if isinstance(found, RewardEntry):
        card = found.card.model_copy(update={"name": name})
        return replace(found, card=card, origin=name, file=file)
    return RewardEntry(_card(name, found), FunctionReward, name, file)


def load_attribute(name: str) -> Callable[..., Any] | RewardEntry:
    """What FILE.py:NAME points at: a function, or a reward such as `clip_iqa.pair` makes.

    Raises:
        UsageError: there is no such file or name, or the file cannot be run.
    """
    file, _, attribute = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file {file!r}; a reward of your own is written FILE.py:NAME")
    module = _run_file(path.resolve(), path.stat().st_mtime_ns)
    found = module.get(attribute)
    if not (isinstance(found, RewardEntry) or callable(found)):
        known = [
            k for k, v in module.items() if inspect.isfunction(v) or isinstance(v, RewardEntry)
        ]
        raise unknown("function", attribute, known, f"they are defined in {file}")
    return found


@functools.lru_cache
def _run_file(path: Path, _modified: int) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for scores
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit too, which would end the run with no word
        note_place(error, path)
        raise UsageError(f"{path} cannot be run: {describe(error)}") from error
    return vars(module)


def _card(name: str, function: Callable[..., Any]) -> RewardCard:
    summary = (inspect.getdoc(function) or "A function of the user's own.").split("\n")
    return RewardCard(
        name=name,
        summary=summary[0],
        inputs=("image", "video"),
        unit="the function's own",
        licence_code="the function's own",
        range=(None, None),
    )
