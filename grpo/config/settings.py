"""Settings by dotted key: which exist, how a text is read as one, how they are printed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from grpo import objectives
from grpo.config.fields import Config, ObjectiveConfig
from rewardkit.errors import UsageError

# The absent value, for which TOML has no word.
NONE = "none"
_NEEDED = {
    "model": "no model is named. Give --model (`rewardkit pipelines` lists names) or --recipe",
    "reward": "no reward is named. Give --reward (`rewardkit list` lists them)",
    "prompts": "no prompts are named. Give --prompts FILE, with a prompt on each line (.txt), or "
    ".jsonl, .csv, .parquet or .json",
    "steps": "nothing says how long to train. Give --steps N",
}


# Names that other trainers have for a setting, by their last word.
_ELSEWHERE = {
    "learning_rate": "optim.lr",
    "lr_scheduler": "optim.decay",
    "warmup_steps": "optim.warmup",
    "max_steps": "steps",
    "num_steps": "steps",
    "num_inference_steps": "sampler.steps",
    "guidance_scale": "sampler.guidance",
    "resolution": "sampler.height",
    "num_generations": "sampler.group_size",
    "lora_rank": "policy.rank",
    "lora_alpha": "policy.alpha",
    "mixed_precision": "policy.dtype",
    "precision": "policy.dtype",
    "max_train_steps": "steps",
    "save_steps": "checkpoint.every",
    "eval_steps": "evaluation.every",
}


def fields(kind: object) -> dict[str, FieldInfo]:
    """Every setting of a run whose objective is of `kind`, in the order of `Config`."""
    found: dict[str, FieldInfo] = {}
    for name, info in Config.model_fields.items():
        section = info.annotation
        if name == "objective":
            found |= {f"objective.{key}": field for key, field in _of_objective(kind).items()}
        elif isinstance(section, type) and issubclass(section, BaseModel):
            found |= {f"{name}.{key}": field for key, field in section.model_fields.items()}
        else:
            found[name] = info
    return found


def _of_objective(kind: object) -> dict[str, FieldInfo]:
    """The settings of a kind of objective; of an unknown one, its kind alone."""
    if kind not in objectives.kinds():
        return {"kind": ObjectiveConfig.model_fields["kind"]}
    section: type[ObjectiveConfig] = objectives.find(str(kind)).config_class
    return section.model_fields


def typed(info: FieldInfo, value: str) -> object:
    """A text as the type of a setting; one that cannot be read stays a text, and is refused later.

    `NONE` is the absent value, where a setting may be absent. Commas separate the items of a list,
    and the pairs KEY=VALUE of a table.
    """
    assert info.annotation is not None
    adapter: TypeAdapter[Any] = TypeAdapter(info.annotation)
    with suppress(ValidationError):
        if value == NONE:
            return adapter.validate_python(None)
    with suppress(ValidationError):
        return adapter.validate_python(value)
    with suppress(ValidationError):
        return adapter.validate_python([part.strip() for part in value.split(",")])
    pairs = [part.partition("=") for part in value.split(",")]
    with suppress(ValidationError):
        if all(equals for _, equals, _ in pairs):
            return adapter.validate_python({key.strip(): text.strip() for key, _, text in pairs})
    return value


def unknown_setting(key: str, origin: str, kind: object) -> UsageError:
    """The error for a setting that does not exist, or belongs to another kind of objective."""
    name = key.removeprefix("objective.")
    for other in objectives.kinds():
        if other != kind and name in _of_objective(other) and key != name:
            return UsageError(
                f"{key} ({origin}) belongs to objectives of the kind {other}, and this run's is "
                f"{kind}"
            )
    known = [*fields(kind)]
    leaf = key.rpartition(".")[2]
    near = [setting for setting in known if setting.rpartition(".")[2] == leaf]
    near = near or ([_ELSEWHERE[leaf]] if leaf in _ELSEWHERE else [])
    near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return UsageError(
        f"unknown setting {key!r} ({origin}).{hint} `grpo recipes shapes-flow` prints all settings"
    )


def explain(error: ValidationError, origins: Mapping[str, str]) -> UsageError:
    """The error for a refused configuration: each setting, its value, and what is accepted."""
    problems = []
    for detail in error.errors():
        key = ".".join(map(str, detail["loc"]))
        origin = f" ({origins[key]})" if key in origins else ""
        value = json.dumps(detail["input"], default=str, ensure_ascii=False)
        match detail["type"]:
            case "missing":
                no_value = f"{key} has no value: no method or recipe gives one. Set it with --set"
                problems.append(_NEEDED.get(key, no_value))
            case "json_invalid":
                problems.append("it is not JSON: it was cut, or changed by hand")
            case "value_error":
                problems.append(str(detail["ctx"]["error"]))
            case "extra_forbidden":
                problems.append(f"{key} is {value}{origin}; there is no such setting")
            case "string_too_short" | "too_short":
                problems.append(f"{key} is {value}{origin}, which is empty: give at least one")
            case _:
                accepted = detail["msg"].removeprefix("Input should be ")
                problems.append(f"{key} is {value}{origin}; accepted is {accepted}")
    return UsageError("\n".join(problems))


def as_toml(values: Mapping[str, object], origins: Mapping[str, str]) -> str:
    """Settings as TOML, each with its origin and its description in a comment.

    A setting without a value is a comment. The text can be read again as a recipe.
    """
    return "\n".join(_lines(values, origins))


def _lines(values: Mapping[str, object], origins: Mapping[str, str]) -> Iterator[str]:
    section = ""
    for key, info in fields(values.get("objective.kind")).items():
        table, _, name = key.rpartition(".")
        if table != section:
            section = table
            yield from ("", f"[{table}]")
        if key in values:
            value = values[key]
            text = _toml(NONE if value is None else value)
            line = f"{name} = {text}"
        else:
            line = f"# {name} ="
        yield f"{line:<36} # {origins.get(key, 'no value yet')}: {info.description}"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(v)}" for key, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
