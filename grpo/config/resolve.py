"""One configuration from defaults, a method, a recipe and the user's settings; later ones win."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ValidationError

from grpo.config.fields import Config
from grpo.config.layers import Layer, default_recipe, flatten, layer
from grpo.config.merge import USER, Merged, lay, merge
from grpo.config.settings import explain, fields
from grpo.places import code
from rewardkit.engine import registry
from rewardkit.engine.spec import parse
from rewardkit.errors import UsageError

# Decides whether to run code, given a sentence that names it.
Trust: TypeAlias = Callable[[str], bool]
# Settings that a LoRA to start from sets.
LORAS_OWN = ("policy.rank", "policy.alpha", "policy.targets")


@dataclass(frozen=True)
class Resolved:
    """A configuration, and the origin of each setting.

    Attributes:
        config: the configuration of the run, with the full names of rewards.
        origins: dotted key -> who decided: "default", "method M", "recipe R", "your setting".
        notes: remarks on settings that a user may not expect.
    """

    config: Config
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()


def resolve(
    recipe: str | None = None,
    method: str | None = None,
    settings: Mapping[str, object] | None = None,
    trust: Trust | None = None,
) -> Resolved:
    """The configuration of a new run.

    Args:
        recipe: name, or path of a .toml; None takes the default one of the model, if it has one.
        method: name, or path of a .toml; None takes the recipe's.
        settings: by dotted key, over all else; text is read as the setting's type.
        trust: whether to run code that the recipe or the method names; None never does.

    Raises:
        UsageError: a name or a setting is unknown, a value is refused, or one is missing.
    """
    settings = settings or {}
    for key in ("recipe", "method"):
        if key in settings:
            raise UsageError(f"{key} is not a setting to --set: name it with --{key}")
    model = settings.get("model")
    chosen = layer("recipe", recipe) if recipe is not None else None
    if chosen is None and model is not None:
        chosen = default_recipe(str(model), method)
    if chosen is None and method is None:
        raise UsageError(
            f"no recipe is known for {model}.{_near(str(model))} Name one with --recipe (`grpo "
            "recipes` lists them), or a method with --method"
            if model is not None
            else "no model to train is named. Give --model or --recipe; `grpo train --model "
            "shapes-flow` is a complete command"
        )
    merged = merge(chosen, method, settings)
    config = _config(merged, trust)
    notes = [
        *_notes(config, chosen, recipe is not None),
        *merged.notes,
        *_without_effect(config, merged),
    ]
    return Resolved(config, merged.origins, tuple(notes))


def _near(model: str) -> str:
    """A suggestion of the nearest name, if there is one."""
    from rewardkit.generators.aliases import ALIASES

    near = difflib.get_close_matches(model.casefold(), ALIASES, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near and model.casefold() not in ALIASES else ""


def continued(
    stored: Config,
    recipe: str | None,
    method: str | None,
    settings: Mapping[str, object],
    trust: Trust | None = None,
) -> Resolved:
    """The configuration of a run that is resumed: its own, with the settings that are given now.

    `grpo.run` says which settings may change on the way. Code that the run names is run as
    `trust` says: a folder may be somebody else's.

    Raises:
        UsageError: a setting is unknown, or a value is refused.
    """
    names = {key: name for key, name in (("recipe", recipe), ("method", method)) if name}
    merged = Merged()
    lay(merged, "the run", dict(flatten(stored.model_dump(mode="json"))))
    lay(merged, USER, {**names, **settings})
    return Resolved(_config(merged, trust), merged.origins)


def _refuse_untrusted(merged: Merged, trust: Trust | None) -> None:
    """Refuses code and a service that a file names, unless trusted; the user's own are used."""
    for key in ("reward", "evaluation.rewards"):
        value, origin = merged.values.get(key), merged.origins.get(key)
        files = code(value) if isinstance(value, str) and origin != USER else []
        if files and not (trust and trust(f"{origin} runs the code in {', '.join(files)}")):
            option = f"-r '{value}'" if key == "reward" else f"--set {key}='{value}'"
            raise UsageError(
                f"{key} is {value} ({origin}), and its code is not run unless you say so. If you "
                f"trust the file, give {option} or --trust-code"
            )
    # Such a service is sent the samples, and the key in the environment.
    endpoint, source = merged.values.get("scoring.endpoint"), merged.origins.get("scoring.endpoint")
    if endpoint is None or source == USER:
        return
    if not (trust and trust(f"{source} calls the service at {endpoint}")):
        raise UsageError(
            f"scoring.endpoint is {endpoint} ({source}), and it is not called unless you say so. "
            f"If you trust it, give --endpoint {endpoint} or --trust-code"
        )


def _config(merged: Merged, trust: Trust | None) -> Config:
    _refuse_untrusted(merged, trust)
    if merged.values.get("policy.init_lora") is not None:
        for key in LORAS_OWN:
            if merged.origins.get(key) == USER:
                raise UsageError(
                    f"{key} and a LoRA to start from are both given, and the LoRA sets {key}. "
                    "Leave out one of the two"
                )
    nested: dict[str, Any] = {"sampler": {}, "objective": {}, "optim": {}}
    for key, value in merged.values.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = value
    try:
        config = Config.model_validate(nested)
    except ValidationError as error:
        raise explain(error, merged.origins) from error
    spec = parse(config.reward, registry.resolve)
    if config.advantage.combine == "raw" and len(spec.terms) > 1 and not spec.has_total:
        raise UsageError(
            f"advantage.combine is raw ({merged.origins['advantage.combine']}), and raw scores of "
            f"{config.reward!r} have different units; give each a weight, as in "
            "'0.7*hps+1.4*clip', or --set advantage.combine=advantages"
        )
    for key, reason in config.objective.unread(config).items():
        if merged.origins.get(key) == USER:
            raise UsageError(
                f"{key} is {merged.values[key]} ({USER}), which has no effect: {reason}. Leave "
                "it out"
            )
    rewards = config.evaluation.rewards
    watched = str(parse(rewards, registry.resolve)) if rewards is not None else None
    evaluation = config.evaluation.model_copy(update={"rewards": watched})
    return config.model_copy(update={"reward": str(spec), "evaluation": evaluation})


def _without_effect(config: Config, merged: Merged) -> list[str]:
    """Notes on settings of the method and the recipe, other than defaults, that nothing reads."""
    known, layers = fields(config.objective.kind), dict[tuple[str, str], list[str]]()
    for key, reason in config.objective.unread(config).items():
        if merged.values[key] != known[key].default:
            layers.setdefault((merged.origins[key], reason), []).append(key)
    return [
        f"{', '.join(keys)} ({origin}): no effect, because {reason}"
        for (origin, reason), keys in layers.items()
    ]


def _notes(config: Config, recipe: Layer | None, named: bool) -> list[str]:
    if recipe is None:
        notes = [f"no recipe: other settings come from method {config.method} or are defaults"]
        where, sampler = layer("method", config.method).header.trained_at, config.sampler
        if where and None in (sampler.height, sampler.width):
            notes.append(
                f"the numbers of {config.method} are from {where}; images have the model's default "
                "size unless sampler.height and sampler.width are set"
            )
        return notes
    notes = []
    if not named:
        notes.append(f"using recipe {recipe.name}, the default for {config.model}")
    elif config.model != recipe.settings.get("model", config.model):
        notes.append(f"the recipe {recipe.name} was chosen for {recipe.settings['model']}")
    reward = recipe.settings.get("reward")
    if reward is not None and not _same_rewards(str(reward), config.reward):
        notes.append(
            f"the reward is {config.reward}; the numbers of the recipe {recipe.name} were chosen "
            f"for {reward}"
        )
    return notes


def _same_rewards(named: str, resolved: str) -> bool:
    """Whether both are the same rewards; files of code are compared by name."""
    name = str if code(named) else registry.resolve
    return str(parse(named, name)) == resolved
