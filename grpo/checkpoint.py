"""Checkpoints: everything a run needs to resume as if it had never stopped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grpo.distributed import World
from rewardkit.errors import InputError, describe

_NAME = re.compile(r"step-(\d+)\.pt")
_REMEDY = "Remove it: --resume continues from the previous one"


def save(
    folder: Path, step: int, state: dict[str, Any], keep: int, world: World | None = None
) -> Path:
    """Writes `folder/step-N.pt` whole or not at all, then removes all but the newest `keep`.

    Args:
        folder: of the run's checkpoints.
        step: number of steps that the run has made.
        state: the trainer's; shared out tensors are written by the processes that hold them.
        keep: number of checkpoints.
        world: the processes that train together, all of which call it; None is this one alone.

    Raises:
        InputError: it cannot be written; what was there before is as it was.
    """
    world = world or World()
    path = folder / f"step-{step:06d}.pt"
    try:
        world.write({"step": step, **state}, path)
    except (InputError, RuntimeError) as error:  # torch's zip writer raises the latter, disk full
        raise InputError(
            f"checkpoint {path} cannot be written: {describe(error).rstrip('.')}. Make room "
            "for it; --resume continues from the previous one"
        ) from error
    for old in paths(folder)[:-keep] if world.first else ():
        old.unlink()
    return path


def load(path: Path, mapped: bool = False) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU; its step is that of the file's name.

    Args:
        path: of the checkpoint.
        mapped: whether tensors stay in the file, and are read from there where they are used.

    Raises:
        InputError: the file is damaged.
    """
    import torch

    try:
        if path.stat().st_size == 0:
            raise InputError("the file is empty")
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch raises whatever its unpickler or zip reader meets
        # After its first sentence, torch recommends to load the file in spite of it.
        cause = describe(error).split(". ")[0][:200].rstrip(".")
        raise InputError(f"checkpoint {path} cannot be read: {cause}. {_REMEDY}") from error
    named = _NAME.fullmatch(path.name)
    step = state.get("step") if isinstance(state, dict) else None
    if type(step) is not int or named is None or step != int(named[1]):
        raise InputError(
            f"checkpoint {path} is damaged or was renamed: its step is {step!r}. {_REMEDY}"
        )
    return dict(state)


def check(path: Path, state: Mapping[str, Any], like: Mapping[str, Any]) -> None:
    """Refuses a state that was not saved from a trainer of the same run.

    Every name, shape and type is that of `like`, and every number is finite. Two things may be in
    the state alone: the moments of an optimizer that has made updates, and the content of a
    dictionary or list that an objective begins empty.

    Args:
        path: of the checkpoint, for the error.
        state: its content.
        like: the state of the trainer it is to be restored into.

    Raises:
        InputError: naming the first difference.
    """
    wanted = {**like, "step": 0, "optimizer": _optimizer(like, state.get("optimizer"))}
    problem = next(_problems(state, wanted, ""), None)
    if problem is not None:
        raise InputError(f"checkpoint {path} does not fit this run: {problem}. {_REMEDY}")


def paths(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    named = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return [path for _, path in sorted((int(name[1]), path) for name, path in named if name)]


def _optimizer(like: Mapping[str, Any], saved: Any) -> dict[str, Any]:
    """AdamW's state once it has made an update; before, its moments are missing.

    Its settings are the configuration's, and other releases of torch have others: any are taken.
    """
    import torch

    wanted = dict(like["optimizer"])
    if not isinstance(saved, dict):
        return wanted
    groups, ours = saved.get("param_groups"), wanted["param_groups"]
    if isinstance(groups, list) and [type(group) for group in groups] == [dict] * len(ours):
        wanted["param_groups"] = [
            {**group, "params": own["params"]} for group, own in zip(groups, ours, strict=True)
        ]
    moments = saved.get("state")
    if moments and isinstance(moments, dict):
        policy = [*like["parameters"].values()]
        modules = (module["parameters"] for module in like.get("modules", {}).values())
        trained = [*policy, *(value for parameters in modules for value in parameters.values())]
        zeros = [torch.zeros_like(value) for value in trained]
        wanted["state"] = {
            number: {"step": torch.zeros(()), "exp_avg": zero, "exp_avg_sq": zero}
            for number, zero in enumerate(zeros)
            # A module's parameter may not have had a gradient yet.
            if number < len(policy) or number in moments
        }
    return wanted


def _problems(value: Any, wanted: Any, name: str) -> Iterator[str]:
    """How `value` differs from `wanted`, in words."""
    import torch

    if isinstance(wanted, dict | list) and not wanted and name.startswith("objective/"):
        # A record of the objective's that was empty at the start.
        wanted = value if type(value) is type(wanted) else wanted
    if isinstance(wanted, Mapping):
        if not isinstance(value, Mapping):
            yield f"{name or 'it'} is not a dictionary"
            return
        for key in wanted:
            if key not in value:
                yield f"{_joined(name, key)} is missing"
        for key in value:
            if key not in wanted:
                yield f"{_joined(name, key)} is not of this run"
        for key in wanted.keys() & value.keys():
            yield from _problems(value[key], wanted[key], _joined(name, key))
    elif isinstance(wanted, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(wanted):
            yield f"{name} is not a list of {len(wanted)}"
            return
        for number, (item, like) in enumerate(zip(value, wanted, strict=True)):
            yield from _problems(item, like, _joined(name, number))
    elif isinstance(wanted, torch.Tensor):
        if not isinstance(value, torch.Tensor):
            yield f"{name} is not a tensor"
        elif (value.shape, value.dtype) != (wanted.shape, wanted.dtype):
            yield (f"{name} is {_form(value)}, and {_form(wanted)} is needed")
        elif value.layout != torch.strided or value.is_meta:
            yield f"{name} does not hold its numbers one by one"
        elif value.is_floating_point() and not value.isfinite().all():
            yield f"{name} holds numbers that are not finite"
        elif name.startswith("optimizer/state/") and name.endswith("/step") and value < 0:
            yield f"{name} is {value.item():g}"
    elif type(value) is not type(wanted):
        yield f"{name} is {value!r}, of the type {type(value).__name__}"
    elif isinstance(value, float) and not abs(value) < float("inf"):
        yield f"{name} is {value}"


def _joined(name: str, key: object) -> str:
    return f"{name}/{key}" if name else str(key)


def _form(tensor: Any) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
