"""The contract of `Policy`, checked on any family of pipelines.

A family of pipelines is tested on a tiny one of the real class with random weights, saved as a
folder, in float32, in the run's configurations that matter: with and without guidance, a LoRA and
all weights. With pytest:

    @pytest.mark.parametrize("parameters", ["lora", "full"])
    @pytest.mark.parametrize("guidance", [1.0, 4.0])
    def test_my_policy(parameters, guidance, tmp_path):
        config = Config.model_validate({
            "model": "path/of/the/tiny/pipeline", "reward": "sharpness", "prompts": "shapes:train",
            "steps": 1, "method": "none",
            "sampler": {"rule": "flow", "noise_level": 0.7, "steps": 4, "guidance": guidance,
                        "prompts_per_step": 1, "group_size": 2},
            "objective": {"kind": "policy-gradient"},
            "policy": {"parameters": parameters, "rank": 2, "alpha": 6},
            "optim": {"lr": 1e-3},
        })
        check_policy(policies.of(policies.load(config), config), config, tmp_path)

Each check can be called alone. A LoRA's alpha should not equal its rank, else one of the two could
be lost unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grpo.config.fields import Config, SamplerConfig
from grpo.export import export
from grpo.policies.policy import Policy
from grpo.rollout import Plan, collect
from grpo.sde import log_prob
from grpo.testing.pipelines import (
    first_order,
    generators,
    lines,
    same_pixels,
    sampled,
    sampled_with,
    texts,
)
from rewardkit.generators.noise import generator

#: What ours may differ by from the pipeline's, and a batch from its samples one by one.
TOLERANCE = 1e-4


def check_policy(policy: Policy, config: Config, folder: Path) -> None:
    """All checks.

    Args:
        policy: of `config`; its weights are moved and put back.
        config: few steps, some with noise; a LoRA's alpha that is not its rank.
        folder: an empty one, for what is saved.
    """
    randomise(policy)
    check_sampling(policy, config.sampler)
    check_encoding(policy)
    check_batches(policy)
    check_ratio(policy, config.sampler)
    check_training(policy)
    check_export(policy, folder)


def randomise(policy: Policy) -> None:
    """Gives a LoRA values under which it changes what the network puts out."""
    if policy.adapted:
        with torch.no_grad():
            for place, parameter in enumerate(policy.parameters().values()):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator(1, place)))


def check_sampling(
    policy: Policy, sampler: SamplerConfig, scheduler: Any = None, **changes: object
) -> None:
    """Without noise, the policy's parts make the latents and the pixels that the pipeline makes.

    Args:
        policy: any.
        sampler: few steps.
        scheduler: of diffusers, whose steps these are; None is the first-order scheduler with the
            settings of the pipeline's own.
        changes: further arguments of the pipeline's call, such as sigmas.
    """
    pipe: Any = policy.pipeline.diffusers
    schedule, sources = policy.schedule(sampler), generators()
    condition = policy.encode(lines(), sources)  # before the noise, as pipelines draw it
    x = policy.noise(sources)
    with sampled_with(pipe, scheduler or first_order(pipe)):
        made, latents = sampled(
            pipe, policy, sampler.steps, texts(policy), output_type="pil", **changes
        )
    begin = x
    with torch.no_grad():
        for i in range(schedule.steps):
            output = policy.predict(x, schedule.timesteps[i].expand(len(x)), condition)
            step = schedule.step(output, x, i, stochastic=False)
            assert step.deterministic, "a step without noise has a standard deviation"
            x = step.mean
    _close(x, latents, "latents, sampled without noise, are not the pipeline's")
    assert (x - begin).abs().max() > 0.1, "sampling moves nothing: the output is too small"
    for ours, theirs in zip(policy.decode(latents), made, strict=True):
        same_pixels(ours, theirs)


def check_encoding(policy: Policy) -> None:
    """Prompts are encoded once, without a graph, as the pipeline's call encodes them itself."""
    pipe: Any = policy.pipeline.diffusers
    policy.encode(lines())
    calls: list[bool] = []
    encoder = next(part for name, part in _networks(pipe).items() if name.startswith("text_encod"))
    hook = encoder.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    new = replace(lines()[0], prompt="one more")
    twice, again = policy.encode([new, new]), policy.encode([new])
    hook.remove()
    assert calls and not any(calls), "text is embedded with a graph, or not at all"
    made = len(calls)
    policy.encode([new])
    assert len(calls) == made, "a prompt that was embedded is embedded again"
    for name, tensor in twice.per_sample.items():
        assert not tensor.requires_grad, f"{name} has a graph"
        assert tensor.shape[0] in (1, twice.halves) and tensor.shape[1] == 2, (
            f"{name} is not [H, B]"
        )
        assert torch.equal(tensor[:, :1], again.per_sample[name]), f"{name} differs by the batch"

    # Two steps: some schedulers' last sigma has no place in one.
    with torch.no_grad(), sampled_with(pipe, first_order(pipe)):
        embeddings = policy.call_arguments(policy.encode(lines()))
        (_, ours), (_, theirs) = (
            sampled(pipe, policy, 2, prompts, output_type="latent")
            for prompts in (embeddings, texts(policy))
        )
    _close(ours, theirs, "embeddings are not those that the pipeline's call makes")


def check_batches(policy: Policy) -> None:
    """A sample is the same alone, in a batch, and in a group; and its prompt matters."""
    x, timesteps = policy.noise(generators()), torch.tensor([900, 500, 100])
    condition = policy.encode(lines())
    with torch.no_grad():
        together = policy.predict(x, timesteps, condition)
        for i, line in enumerate(lines()):
            row = slice(i, i + 1)
            alone = policy.predict(x[row], timesteps[row], policy.encode([line]))
            _close(alone, together[row], "a prediction depends on its batch")
        order = torch.tensor([2, 0, 0, 1])
        group = policy.predict(x[order], timesteps[order], condition.index(order))
        _close(group, together[order], "a prediction depends on its group")
        other = policy.predict(x, timesteps, policy.encode([*lines()[1:], lines()[1]]))
    vectors = condition.pooled()
    assert vectors.ndim == 2 and vectors.dtype == torch.float32, "pooled() is not [B, D], float32"
    for i, line in enumerate(lines()):
        _close(policy.encode([line]).pooled()[0], vectors[i], "pooled() depends on its batch")
    assert not torch.equal(vectors[0], vectors[1]), "pooled() does not depend on the prompt"
    assert together.dtype == torch.float32, "a prediction is not float32"
    assert together.shape == x.shape, "a prediction is not of its sample's shape"
    assert (other - together).abs().max() > 1e-3, "a prediction does not depend on the prompt"


def check_ratio(policy: Policy, sampler: SamplerConfig) -> None:
    """Before the first update, what is replayed has the log-probability it was drawn with."""
    first, schedule = lines()[:2], policy.schedule(sampler)
    steps = schedule.stochastic_steps()
    assert steps, "no step of this sampler is random: give it a noise level"
    number = len(first) * sampler.group_size
    config = sampler.model_copy(update={"batch_size": number, "noise": "sample"})
    plan = Plan(frozenset(steps), torch.tensor([steps] * len(first)))
    rollout = collect(policy, schedule, first, config, plan, (0, 0))
    past, rows = rollout.transitions, torch.arange(number)
    for k in range(len(steps)):
        x, x_next = past.step(rows, k, policy.device)
        index = past.index[rows, k].to(policy.device)
        with torch.no_grad():
            output = policy.predict(x, schedule.timesteps[index], rollout.condition_of(rows))
        step = schedule.step(output, x, index)
        ratio = (log_prob(x_next, step.mean, step.std).cpu() - past.log_prob[rows, k]).exp()
        assert torch.equal(ratio, torch.ones(number)), f"the ratio of step {steps[k]} is {ratio}"


def check_training(policy: Policy) -> None:
    """An update moves the trained weights and no others."""
    parts = _networks(policy.pipeline.diffusers)
    trained = policy.parameters()
    learning = [p for part in parts.values() for p in part.parameters() if p.requires_grad]
    assert {id(p) for p in learning} == {id(p) for p in trained.values()}, (
        "the weights that get gradients are not those of parameters()"
    )
    assert {p.dtype for p in learning} == {torch.float32}, "a trained weight is not float32"

    before = _weights(parts)
    x, timesteps = policy.noise(generators()), torch.tensor([900, 500, 100])
    policy.predict(x, timesteps, policy.encode(lines())).square().sum().backward()
    optimizer = torch.optim.SGD(trained.values(), lr=1.0)
    optimizer.step()
    optimizer.zero_grad()
    after = _weights(parts)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    prefix = f"{policy.parts[0]}." if len(policy.parts) == 1 else ""
    expected = {prefix + name for name in trained}
    assert moved <= expected, f"weights that are not trained have moved: {moved - expected}"
    # Not all: what a last layer makes of the text, for instance, may go nowhere.
    assert len(moved) > 0.9 * len(expected), f"some trained weights do not: {expected - moved}"
    for part, module in parts.items():
        module.load_state_dict({name: before[f"{part}.{name}"] for name in module.state_dict()})


def check_export(policy: Policy, folder: Path) -> None:
    """What is saved makes the same latents in plain diffusers.

    Args:
        policy: its pipeline was loaded from a folder.
        folder: where it is saved to.
    """
    export(policy, folder / "trained", {})
    source = policy.pipeline.folder if policy.adapted else folder / "trained"
    own: Any = policy.pipeline.diffusers
    absent = {name: None for name, part in own.components.items() if part is None}
    plain = type(own).from_pretrained(source, **absent)
    plain.set_progress_bar_config(disable=True)
    plain.scheduler = first_order(plain)
    if policy.adapted:
        plain.load_lora_weights(folder / "trained")
    with sampled_with(own, first_order(own)):
        (_, ours), (_, theirs) = (
            sampled(pipe, policy, 2, texts(policy), output_type="latent") for pipe in (own, plain)
        )
    _close(ours, theirs, "what was saved is not what was trained")


def _networks(pipe: Any) -> dict[str, nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


def _weights(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": value.clone()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def _close(ours: Tensor, theirs: Tensor, claim: str) -> None:
    torch.testing.assert_close(
        ours, theirs, rtol=0, atol=TOLERANCE, msg=lambda message: f"{claim}: {message}"
    )
