"""The size of a run, from its model's files: parameters, memory, samples, what pulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING

from grpo import policies
from grpo.config.fields import ObjectiveConfig
from grpo.preview import Model, frames_of, size_of
from rewardkit.devices import pick_device
from rewardkit.errors import describe
from rewardkit.media.prompts import read

if TYPE_CHECKING:
    from grpo.config.fields import Config
    from grpo.memory import Outline
    from grpo.policies import Policy

# Ratio of the gradients of two steps above which there is a warning.
_WIDE = 10.0


def summary(config: Config, model: Model, device: str = "auto") -> list[str]:
    """The size of a run in a few lines: model, trained parameters, memory, samples, what pulls.

    Args:
        config: the run.
        model: its model, which was looked at.
        device: where it is to train; see `rewardkit.devices.pick_device`.
    """
    policy = policies.families().get(model.pipeline or "")
    if policy is None:
        return [
            f"model: {model.source} is not on this machine, so it was not checked: whether it can "
            "be trained is known after its model_index.json is downloaded"
        ]
    shapes = _shapes(model.folder, policy.parts) if model.folder is not None else {}
    total = sum(prod(shape) for shape in shapes.values())
    size, frames = size_of(config, model), frames_of(config, model)
    medium = "clips" if model.kind == "video" else "images"
    lines = [f"model: {model.source}, a {model.pipeline}"]
    lines[0] += (
        f"; its {_listed(policy)} has {total:,} parameters" if total else ", not on this machine"
    )
    if config.policy.init_lora is not None:
        lines.append(f"trained: the LoRA {config.policy.init_lora}, of its own rank and layers")
    else:
        lines.append(_trained(config, policy, shapes))
    pull: list[str] = []
    if model.folder is not None and (shapes or _has_factors(config)):
        from grpo import memory

        try:
            outline = memory.outlined(config, model.source, model.folder)
            # The gradient factors come first: estimating memory fills the outline.
            pull = _pull(config, outline)
            if shapes:
                first = read(config.prompts)[0]
                lines += memory.of_outline(config, outline, pick_device(device), first).lines()
        # Files may be damaged, and a device may be another machine's: only the run needs them.
        except Exception as error:
            subject = "memory: it" if shapes else "gradient factors: they"
            lines.append(f"{subject} cannot be estimated from {model.folder}: {describe(error)}")
    prompts, samples = config.sampler.prompts_per_step, config.sampler.group_size
    lines.append(
        f"each step: {prompts} prompts x {samples} samples = {prompts * samples} {medium}"
        + (f" of {size[1]} x {size[0]}" if size else "")
        + (f" with {frames} frames" if frames else "")
        + f"; {config.steps} steps"
    )
    lines.append(_batches(config))
    return [*lines, *pull]


def _pull(config: Config, outline: Outline) -> list[str]:
    """The gradient factor of each step that may be trained, with a warning where they differ."""
    from grpo import memory

    if not _has_factors(config):
        return []
    factors = config.objective.pull(config.sampler, memory.sampler_of(config, outline))
    listed = ", ".join(f"{step}: {factor:.3g}" for step, factor in factors.items())
    lines = [f"gradient factor of each step that is trained, per unit of noise: {listed}"]
    least, most = (choose(factors, key=factors.__getitem__) for choose in (min, max))
    times = factors[most] / factors[least]
    if times > _WIDE:
        lines.append(
            f"WARNING: the gradient of step {most} is {times:.0f} times that of step {least}, so "
            f"step {least} hardly trains. Train early steps alone (`grpo methods flow-grpo-fast`), "
            "or weigh steps by objective.weight (`grpo methods guard`)"
        )
    return lines


def _has_factors(config: Config) -> bool:
    """Whether the objective has gradient factors."""
    return type(config.objective).pull is not ObjectiveConfig.pull


def _batches(config: Config) -> str:
    """The batches of a step, which processes share out: more processes than these do not help."""
    batch, prompts = config.sampler.batch_size, config.sampler.prompts_per_step
    drawn = ceil(prompts * config.sampler.group_size / batch)
    trained = prompts * (config.advantage.best or config.sampler.group_size)
    update = ceil(ceil(trained / config.objective.updates) / batch)
    return (
        f"processes share out batches of up to {batch} samples (sampler.batch_size): {drawn} in a "
        f"rollout, {update} in an update"
    )


def _trained(config: Config, policy: type[Policy], shapes: Mapping[str, list[int]]) -> str:
    """What is trained, and of how many parameters."""
    adapted = config.policy.parameters == "lora"
    what = f"a LoRA of rank {config.policy.rank}" if adapted else f"all of its {_listed(policy)}"
    if not shapes:
        return f"trained: {what}"
    total = sum(prod(shape) for shape in shapes.values())
    count = _lora(shapes, config, policy) if adapted else total
    return f"trained: {what}, {count:,} parameters in float32"


def _listed(policy: type[Policy]) -> str:
    return " and ".join(policy.parts)


def _shapes(folder: Path, parts: Sequence[str]) -> dict[str, list[int]]:
    """The shape of each tensor in the readable files of a pipeline's parts."""
    from safetensors import SafetensorError, safe_open

    name = "diffusion_pytorch_model"
    files = [
        (part, file)
        for part in parts
        for pattern in (f"{name}.safetensors", f"{name}-*-of-*.safetensors")
        for file in sorted((folder / part).glob(pattern))
    ]
    shapes: dict[str, list[int]] = {}
    with suppress(OSError, SafetensorError):
        for part, file in files:
            with safe_open(file, framework="np") as tensors:
                for key in tensors.keys():  # noqa: SIM118
                    shapes[f"{part}.{key}"] = tensors.get_slice(key).get_shape()
    return shapes


def _lora(shapes: Mapping[str, list[int]], config: Config, policy: type[Policy]) -> int:
    """Number of parameters of a LoRA: r (inputs + outputs) for each of its layers."""
    ends = tuple(f".{name}.weight" for name in config.policy.targets or policy.targets)
    fitting = (shape for key, shape in shapes.items() if f".{key}".endswith(ends))
    return config.policy.rank * sum(prod(shape[1:]) + shape[0] for shape in fitting)
