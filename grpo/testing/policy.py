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

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from grpo.config.fields import Config, SamplerConfig
from grpo.export import export
from grpo.policies.policy import Policy
from grpo.rollout import Plan, collect
from grpo.sde import log_prob
from rewardkit.generators.arguments import call_arguments
from rewardkit.generators.noise import generator
from rewardkit.media.prompts import PromptLine

#: Prompts of different lengths, one of them twice.
LINES = [PromptLine("", text) for text in ("a red ring", "two blue boxes", "a red ring")]
SEEDS = (3, 5, 7)
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
    policy: Policy, sampler: SamplerConfig, scheduler: Any = None, **call: object
) -> None:
    """Without noise, the policy's parts make the latents and the pixels that the pipeline makes.

    Args:
        policy: any.
        sampler: few steps.
        scheduler: of diffusers, whose steps these are; None is the first-order scheduler with the
            settings of the pipeline's own.
        call: further arguments of the pipeline's call, such as sigmas.
    """
    pipe: Any = policy.pipeline.diffusers
    schedule, x = policy.schedule(sampler), policy.noise(_generators())
    with _sampled_with(pipe, scheduler or first_order(pipe)):
        latents, pictures = (
            pipe(generator=_generators(), output_type=kind, **_call(policy, sampler), **call)[0]
            for kind in ("latent", "pil")
        )
    begin, condition = x, policy.encode(LINES)
    with torch.no_grad():
        for i in range(schedule.steps):
            output = policy.predict(x, schedule.timesteps[i].expand(len(x)), condition)
            step = schedule.step(output, x, i, stochastic=False)
            assert step.deterministic, "a step without noise has a standard deviation"
            x = step.mean
    _close(x, latents, "latents, sampled without noise, are not the pipeline's")
    assert (x - begin).abs().max() > 0.1, "sampling moves nothing: the output is too small"
    for medium, picture in zip(policy.decode(latents), pictures, strict=True):
        _same_pixels(medium, picture)


def check_encoding(policy: Policy) -> None:
    """Prompts are encoded once, without a graph, as the pipeline's call encodes them itself."""
    pipe: Any = policy.pipeline.diffusers
    policy.encode(LINES)
    calls: list[bool] = []
    encoder = next(part for name, part in _networks(pipe).items() if name.startswith("text_encod"))
    hook = encoder.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    new = PromptLine("", "one more")
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
    call = {**call_arguments(pipe, policy.protocol), "num_inference_steps": 2}
    with torch.no_grad(), _sampled_with(pipe, first_order(pipe)):
        embeddings = policy.call_arguments(policy.encode(LINES))
        ours = pipe(generator=_generators(), output_type="latent", **call, **embeddings)[0]
        theirs = pipe(generator=_generators(), output_type="latent", **call, **_texts(policy))[0]
    _close(ours, theirs, "embeddings are not those that the pipeline's call makes")


def check_batches(policy: Policy) -> None:
    """A sample is the same alone, in a batch, and in a group; and its prompt matters."""
    x, timesteps = policy.noise(_generators()), torch.tensor([900, 500, 100])
    condition = policy.encode(LINES)
    with torch.no_grad():
        together = policy.predict(x, timesteps, condition)
        for i, line in enumerate(LINES):
            row = slice(i, i + 1)
            alone = policy.predict(x[row], timesteps[row], policy.encode([line]))
            _close(alone, together[row], "a prediction depends on its batch")
        order = torch.tensor([2, 0, 0, 1])
        group = policy.predict(x[order], timesteps[order], condition.index(order))
        _close(group, together[order], "a prediction depends on its group")
        other = policy.predict(x, timesteps, policy.encode([*LINES[1:], LINES[1]]))
    assert together.dtype == torch.float32, "a prediction is not float32"
    assert together.shape == x.shape, "a prediction is not of its sample's shape"
    assert (other - together).abs().max() > 1e-3, "a prediction does not depend on the prompt"


def check_ratio(policy: Policy, sampler: SamplerConfig) -> None:
    """Before the first update, what is replayed has the log-probability it was drawn with."""
    lines, schedule = LINES[:2], policy.schedule(sampler)
    steps = schedule.stochastic_steps()
    assert steps, "no step of this sampler is random: give it a noise level"
    number = len(lines) * sampler.group_size
    config = sampler.model_copy(update={"batch_size": number, "noise": "sample"})
    plan = Plan(frozenset(steps), torch.tensor([steps] * len(lines)))
    rollout = collect(policy, schedule, lines, config, plan, (0, 0))
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
    x, timesteps = policy.noise(_generators()), torch.tensor([900, 500, 100])
    policy.predict(x, timesteps, policy.encode(LINES)).square().sum().backward()
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
    call = {**call_arguments(own, policy.protocol), "num_inference_steps": 2}
    with _sampled_with(own, first_order(own)):
        ours, theirs = (
            # Each with its own list of texts: Z-Image's pipeline writes into the one it is given.
            pipe(generator=_generators(), output_type="latent", **call, **_texts(policy))[0]
            for pipe in (own, plain)
        )
    _close(ours, theirs, "what was saved is not what was trained")


def first_order(pipe: Any) -> Any:
    """The first-order scheduler of diffusers with the settings of the pipeline's own."""
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    settings: Any = pipe.scheduler.config
    if isinstance(pipe.scheduler, FlowMatchEulerDiscreteScheduler):
        flow: Any = FlowMatchEulerDiscreteScheduler
        return flow.from_config(settings)
    ddim: Any = DDIMScheduler
    return ddim.from_config(settings, clip_sample=False)  # latents have no bounds to clip them to


def _call(policy: Policy, sampler: SamplerConfig) -> dict[str, Any]:
    arguments = call_arguments(policy.pipeline.diffusers, policy.protocol)
    return {**arguments, **_texts(policy), "num_inference_steps": sampler.steps}


def _texts(policy: Policy) -> dict[str, Any]:
    texts = {"prompt": [line.prompt for line in LINES]}
    if policy.protocol.negative_prompt is not None:
        texts["negative_prompt"] = [policy.protocol.negative_prompt] * len(LINES)
    return texts


@contextmanager
def _sampled_with(pipe: Any, scheduler: Any) -> Iterator[None]:
    own, pipe.scheduler = pipe.scheduler, scheduler
    pipe.vae.enable_slicing()  # media are decoded one by one: in a batch, last bits may differ
    try:
        yield
    finally:
        pipe.scheduler = own
        pipe.vae.disable_slicing()


def _same_pixels(medium: Any, picture: Any) -> None:
    from PIL import Image

    from rewardkit.media.images import read_image

    file = io.BytesIO()
    picture.save(file, "PNG")
    assert torch.equal(medium, read_image(Image.open(file))), "pixels are not a saved file's"


def _networks(pipe: Any) -> dict[str, nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


def _weights(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": value.clone()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def _generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def _close(ours: Tensor, theirs: Tensor, claim: str) -> None:
    torch.testing.assert_close(
        ours, theirs, rtol=0, atol=TOLERANCE, msg=lambda message: f"{claim}: {message}"
    )
