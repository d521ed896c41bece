"""How much memory a run will take, by part, before its weights are loaded.

The run's own policy and rewards compute a rollout's and an update's calls without numbers
(`grpo.outline`), so that activations are those of its networks, dtypes and batches. Memory that
kernels take for themselves, that an allocator keeps in reserve, and a CUDA context are not counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from grpo import objectives, policies
from grpo.memory_report import MemoryEstimate
from grpo.objectives.objective import Objective
from grpo.outline import META, OutlineLoader, Tracker, again, fill, pipeline_in, without_numbers
from grpo.policies.embeddings import HOME, Embeddings
from grpo.policies.policy import Policy
from rewardkit.devices import pick_device, pick_dtype, same_device
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.spec import parse
from rewardkit.errors import describe
from rewardkit.generators.aliases import ALIASES
from rewardkit.generators.arguments import default_protocol
from rewardkit.generators.decoding import decode
from rewardkit.generators.pipelines import Pipeline
from rewardkit.generators.placement import cast
from rewardkit.generators.protocol import carried_protocol
from rewardkit.media.batch import Batch, Clip, Sample
from rewardkit.media.prompts import PromptLine

if TYPE_CHECKING:
    from grpo.config.fields import Config
    from grpo.sampler import Sampler

# A policy on "meta", and the text encoders of its pipeline.
Outline: TypeAlias = tuple[Policy, list[nn.Module]]


def of_folder(
    config: Config, source: str, folder: Path, device: str, line: PromptLine
) -> MemoryEstimate:
    """The memory of a run of a pipeline in a folder, of whose weights nothing is read.

    Args:
        config: the run.
        source: the model, as it is named.
        folder: its files.
        device: where the policy is to train; see `rewardkit.devices.pick_device`.
        line: one of the prompts, for rewards that read more of it than its text.

    Raises:
        Exception: of any kind, where a configuration is missing, or is not what its class reads.
    """
    return of_outline(config, outlined(config, source, folder), pick_device(device), line)


def outlined(config: Config, source: str, folder: Path) -> Outline:
    """The policy of a run of the pipeline in a folder, on "meta", and its text encoders.

    Raises:
        Exception: as in `of_folder`.
    """
    pipe = pipeline_in(folder)
    alias = next((a for a in ALIASES.values() if source.casefold() == a.name), None)
    known = carried_protocol(folder) or (alias.protocol if alias else None)
    protocol = known or default_protocol(pipe)
    return _policy(Pipeline(pipe, source, None, None, None, None, protocol), config)


def sampler_of(config: Config, outline: Outline) -> Sampler:
    """The steps of a run of an outlined policy, on the CPU."""
    outline[0].device = HOME
    return outline[0].schedule(config.sampler)


def of(
    config: Config, pipeline: Pipeline, device: torch.device, line: PromptLine
) -> MemoryEstimate:
    """The memory of a run of a pipeline that is in memory and stays as it is."""
    pipe, protocol = again(pipeline.diffusers), pipeline.protocol
    outline = Pipeline(pipe, pipeline.source, None, None, None, None, protocol)
    return of_outline(config, _policy(outline, config), device, line)


def of_outline(
    config: Config, outline: Outline, device: torch.device, line: PromptLine
) -> MemoryEstimate:
    """The memory of a run of an outlined policy, which is on the device afterwards."""
    policy, encoders = outline
    pipe: Any = policy.pipeline.diffusers
    made = MemoryEstimate(device)
    trained = 4 * sum(p.numel() for p in policy.parameters().values())
    network = sum(map(_size, policy.networks.values())) - trained
    adapted = policy.adapted
    made.held = {
        "network": network,
        "LoRA" if adapted else "trained weights": trained,
        "optimizer": 2 * trained,
        "averages": trained * (config.policy.ema is not None),
        "copies of weights": trained * config.objective.copies(adapted),
    }
    _of_modules(made, config, policy)
    made.host["text encoders"] = sum(map(_size, encoders))
    beside = {name: _size(getattr(pipe, part)) for name, part in _beside(pipe).items()}
    (made.host if config.policy.offload else made.held).update(beside)
    made.host |= _rollout_on_the_host(config, policy)
    _of_rewards(made, config, policy, line)
    with without_numbers() as tracker:
        _of_policy(made, config, policy, encoders, tracker, trained, line)
    return made


def _beside(pipe: Any) -> dict[str, str]:
    """The pipeline's parts that are on the device beside the network, unless they are offloaded."""
    named = {"VAE": "vae", "image encoder": "image_encoder"}
    return {name: part for name, part in named.items() if getattr(pipe, part, None) is not None}


def _policy(pipeline: Pipeline, config: Config) -> Outline:
    """The policy on "meta", and its pipeline's text encoders, cast as it casts them."""
    pipe: Any = pipeline.diffusers
    parts = {n: p for n, p in pipe.components.items() if isinstance(p, nn.Module)}
    encoders = {name: part for name, part in parts.items() if name.startswith("text_encoder")}
    for name in encoders:  # a policy would move them to the CPU, and they have no numbers to move
        setattr(pipe, name, None)
    there = config.policy.model_copy(update={"offload": False})  # for the same reason
    policy = policies.of(pipeline, config.model_copy(update={"policy": there}), META)
    for name, part in encoders.items():
        cast(part.requires_grad_(False), policy.dtype)
        setattr(pipe, name, part)
    return policy, list(encoders.values())


def _of_policy(
    made: MemoryEstimate,
    config: Config,
    policy: Policy,
    encoders: list[nn.Module],
    tracker: Tracker,
    trained: int,
    line: PromptLine,
) -> None:
    """What embedding, sampling, decoding and an update take, with `policy` filled for it."""
    device = made.device
    pipe: Any = policy.pipeline.diffusers
    others = [getattr(pipe, part) for part in _beside(pipe).values()]
    for network in (*encoders, *policy.networks.values(), *others):
        fill(network, device)
    policy.device, policy._embedded = device, Embeddings([], device)
    number = config.sampler.prompts_per_step * config.sampler.group_size
    trained_on = config.sampler.prompts_per_step * (
        config.advantage.best or config.sampler.group_size
    )
    drawn = min(config.sampler.batch_size, number)
    # An update takes its share of the samples, in batches.
    learnt = min(config.sampler.batch_size, ceil(trained_on / config.objective.updates))
    visits = made.host["text encoders"] if device != HOME else 0
    made.phases["embedding"] = visits + tracker.peak(lambda: policy.remember([line.prompt]))
    with warnings.catch_warnings():
        # Diffusers guesses the range of a picture from its numbers, and here there are none.
        warnings.simplefilter("ignore", FutureWarning)
        one = policy.encode([line])
    start = number * prod(policy.shape) * 4

    def predict(size: int) -> Tensor:
        x = policy.noise([torch.Generator()] * size)
        timesteps = torch.full((size,), 500.0, device=device)
        return policy.predict(x, timesteps, one.index([0] * size))

    def sample() -> None:
        with torch.no_grad():
            predict(drawn)

    def update() -> None:
        predict(learnt).square().mean().backward()

    with torch.no_grad():
        made.phases["rollout"] = start + tracker.peak(sample)
        latents = policy.noise([torch.Generator()])
        try:
            decoding = tracker.peak(lambda: list(decode(pipe, latents, policy.protocol)))
            offloaded = config.policy.offload and device != HOME
            visit = sum(map(_size, others)) if offloaded else 0
            made.phases["decoding"] = start + visit + decoding
        except Exception as error:  # some pipelines read the shape of a sample from its numbers
            made.unknown["decoding"] = describe(error)
    # Gradients stay from the first batch on.
    for parameter in (p for n in policy.networks.values() for p in n.parameters()):
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
    # AdamW's fused form on a GPU takes one more number per parameter for a moment.
    moved = trained * (device.type == "cuda")
    made.held["gradients"] = trained
    made.phases["update"] = max(tracker.peak(update), moved)


def _of_modules(made: MemoryEstimate, config: Config, policy: Policy) -> None:
    """The networks that the objective trains beside the policy; not what they compute."""
    kind = objectives.find(config.objective.kind)
    made.unknown |= kind.uncounted
    if kind.modules is Objective.modules:  # it has none
        return
    sampler = policy.schedule(config.sampler)
    terms = parse(config.reward, resolve).terms
    weights = {
        str(replace(term, weight=None)): 1.0 if term.weight is None else term.weight
        for term in terms
    }
    try:
        with META:
            objective = kind(policy, sampler, config, SimpleNamespace(weights=weights))
    except Exception as error:
        made.unknown["networks of the objective"] = describe(error)
        return
    modules = objective.modules().values()
    trained = 4 * sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)
    if trained:
        made.held["networks of the objective"] = sum(map(_size, modules))
        made.held["their gradients and optimizer"] = 3 * trained


def _of_rewards(made: MemoryEstimate, config: Config, policy: Policy, line: PromptLine) -> None:
    """The rewards' networks, and what scoring a batch takes."""
    settings = config.scoring
    device = pick_device(settings.device) if settings.device else made.device
    beside = not same_device(device, made.device)
    own = {weights.casefold(): Path(path) for weights, path in settings.weights.items()}
    loader = OutlineLoader(settings.dtype, own)
    rewards, pictures = {}, {}
    height, width = policy.protocol.height or 64, policy.protocol.width or 64
    frames, rate = policy.protocol.frames, policy.protocol.fps
    picture = torch.zeros(frames or 1, 3, height, width, dtype=torch.uint8)
    medium = Clip(picture, rate or 1.0) if frames else picture[0]
    sample = Sample(medium, line.prompt, line.meta)
    for name in parse(config.reward, resolve).names:
        if entry(name).card.needs_endpoint:
            continue  # its network is elsewhere
        try:
            reward = entry(name).cls.load(entry(name).card, loader)
            pictures[name] = reward.extractor.prepare(sample)
            rewards[name] = reward
        except Exception as error:
            made.unknown[name] = describe(error)
    weights = sum(map(_size, loader.networks))
    number = config.sampler.prompts_per_step * config.sampler.group_size
    highest = 0
    with without_numbers() as tracker:
        loader.fill(device, [*rewards.values(), *(r.extractor for r in rewards.values())])
        for name, reward in rewards.items():
            size = min(settings.batch_size, number, reward.card.batch_size or number)

            def score(name: str = name, reward: Any = reward, size: int = size) -> None:
                with torch.no_grad():
                    features = reward.extractor.features([pictures[name]] * size)
                    reward.score(Batch([sample] * size), features)

            try:
                highest = max(highest, tracker.peak(score))
            except Exception as error:  # only what it takes while it scores is unknown
                made.unknown[name] = f"while it scores: {describe(error)}"
    made.rewards = {"weights": weights, "scoring": highest}
    if not beside:
        made.held["rewards"] = 0 if settings.offload else weights
        made.phases["scoring"] = highest + weights * settings.offload
    if settings.offload:
        made.host["rewards"] = weights


def _rollout_on_the_host(config: Config, policy: Policy) -> dict[str, int]:
    """What a rollout keeps in the memory of the machine: states, clean latents, pictures."""
    sampler, number = config.sampler, config.sampler.prompts_per_step * config.sampler.group_size
    steps = config.objective.steps_stored(sampler)
    # Steps in a row share a state; steps that are drawn at random may not.
    in_a_row = sampler.window_size is not None or steps >= sampler.steps - 1
    states = min((steps + 1) * (steps > 0) if in_a_row else 2 * steps, sampler.steps + 1)
    latents = prod(policy.shape)
    size = pick_dtype(config.policy.dtype).itemsize
    protocol = policy.protocol
    pixels = 3 * (protocol.height or 0) * (protocol.width or 0) * (protocol.frames or 1)
    return {
        "trajectory": number * latents * (states * size + 4),
        "media": number * pixels,
    }


def _size(network: nn.Module) -> int:
    """Bytes of a network's parameters and buffers."""
    tensors: Mapping[int, Tensor] = {id(t): t for t in (*network.parameters(), *network.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
