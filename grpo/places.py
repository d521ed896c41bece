"""Absolute paths in a configuration, so that a run can be resumed from any folder."""

from __future__ import annotations

import os
from pathlib import Path

from grpo.config.fields import Config
from rewardkit.engine.spec import local_folder, parse, user_file
from rewardkit.errors import UsageError
from rewardkit.generators.aliases import ALIASES
from rewardkit.generators.lora_hub import on_hub


def anchored(config: Config) -> Config:
    """`config` with absolute paths in place of those that depend on the working folder.

    A path that a spec of rewards cannot hold, with a blank or one of its signs in it, stays as it
    is given.
    """
    evaluation, lora = config.evaluation, config.policy.init_lora
    watched = {
        "prompts": None if evaluation.prompts is None else _file(evaluation.prompts),
        "rewards": None if evaluation.rewards is None else _spec(evaluation.rewards),
    }
    return config.model_copy(
        update={
            "model": _model(config.model),
            "prompts": _file(config.prompts),
            "reward": _spec(config.reward),
            "evaluation": evaluation.model_copy(update=watched),
            "scoring": config.scoring.model_copy(
                update={"weights": {k: _absolute(v) for k, v in config.scoring.weights.items()}}
            ),
            "objective": config.objective.anchored(_lora),
            "policy": config.policy.model_copy(
                update={"init_lora": None if lora is None else _lora(lora)}
            ),
        }
    )


def code(spec: str) -> list[str]:
    """The Python files that a spec of rewards names."""
    files = map(user_file, parse(spec, str).names)
    return [file for file in files if file is not None]


def _model(model: str) -> str:
    """A folder; a name and what is on the hub stay."""
    written_as_path = Path(model).name != model
    if Path(model).exists() and (written_as_path or model.casefold() not in ALIASES):
        return _absolute(model)
    return model


def _lora(lora: str) -> str:
    """A file or folder; what is on the hub stays."""
    return lora if on_hub(lora) else _absolute(lora)


def _file(prompts: str) -> str:
    return prompts if prompts.startswith("package:") else _absolute(prompts)


def _spec(spec: str) -> str:
    absolute = parse(spec, _reward)
    try:
        return str(absolute) if parse(str(absolute), str) == absolute else spec
    except UsageError:
        return spec


def _reward(name: str) -> str:
    if (file := user_file(name)) is not None:
        scheme, _, attribute = name.rpartition(file)
        return scheme + _absolute(file) + attribute
    if (folder := local_folder(name)) is not None:
        return name.removesuffix(folder) + _absolute(folder)
    return name


def _absolute(file: str) -> str:
    return os.path.abspath(file)  # noqa: PTH100 `..` is taken out, and links are kept
