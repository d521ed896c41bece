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
from rewardkit.errors import describe
from rewardkit.media.prompts import read

if TYPE_CHECKING:
    from grpo.config.fields import Config
    from grpo.policies import Policy

# How many times as strongly one step may pull as another without a warning.
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
    if shapes and model.folder is not None:
        lines += _memory(config, model.source, model.folder, device)
    prompts, samples = config.sampler.prompts_per_step, config.sampler.group_size
    lines.append(
        f"each step: {prompts} prompts x {samples} samples = {prompts * samples} {medium}"
        + (f" of {size[1]} x {size[0]}" if size else "")
        + (f" with {frames} frames" if frames else "")
        + f"; {config.steps} steps"
    )
    lines.append(_batches(config))
    if model.folder is not None:
        lines += _pull(config, model.source, model.folder)
    return lines


def _pull(config: Config, source: str, folder: Path) -> list[str]:
    """How strongly each step that may be trained pulls, with a warning where it differs widely."""
    from grpo import memory

    if type(config.objective).pull is ObjectiveConfig.pull:
        return []
    try:
        sampler = memory.sampler_of(config, source, folder)
    # Files may be damaged: only the run itself needs them.
    except Exception as error:
        return [f"gradient factors: they cannot be computed from {folder}: {describe(error)}"]
    factors = config.objective.pull(config.sampler, sampler)
    listed = ", ".join(f"{step}: {factor:.3g}" for step, factor in factors.items())
    lines = [f"gradient factor of each step that is trained, per unit of noise: {listed}"]
    least, most = (choose(factors, key=factors.__getitem__) for choose in (min, max))
    times = factors[most] / factors[least]
    if times > _WIDE:
        lines.append(
            f"WARNING: step {most} pulls {times:.0f} times as strongly as step {least}, which "
            "hardly trains. Train early steps alone (`grpo methods flow-grpo-fast`), or weigh "
            "steps by objective.weight (`grpo methods guard`)"
        )
    return lines


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


def _memory(config: Config, source: str, folder: Path, device: str) -> list[str]:
    """The memory of a run by part; a reason where it cannot be estimated."""
    from grpo import memory

    try:
        return memory.of_folder(config, source, folder, device, read(config.prompts)[0]).lines()
    # Files may be damaged, and a device may be another machine's: only the run itself needs them.
    except Exception as error:
        return [f"memory: it cannot be estimated from {folder}: {describe(error)}"]


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
