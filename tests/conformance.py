"""What any policy promises: `check_policy` holds one against plain diffusers."""

import io
from typing import Any

import torch
from PIL import Image

from grpo.config.fields import SamplerConfig
from grpo.policies import Policy
from rewardkit.media.images import read_image

PROMPTS = ["a red ring", "two blue boxes", "a red ring"]
SEEDS = [3, 5, 7]


def check_policy(policy: Policy, sampling: SamplerConfig, scheduler: Any) -> None:
    """Raises AssertionError where a policy is not what `grpo.policies.policy` says.

    Args:
        policy: its weights are moved and put back.
        sampling: few steps.
        scheduler: the first-order scheduler of diffusers that these steps are claimed to be.
    """
    check_sampling(policy, sampling, scheduler)
    check_batches(policy)
    check_embeddings(policy)
    check_training(policy)


def check_sampling(policy: Policy, sampling: SamplerConfig, scheduler: Any, **call: object) -> None:
    """Without noise, the policy's parts make the latents and the pixels that the pipeline makes.

    `call` are further arguments of the pipeline's call, such as sigmas.
    """
    pipe: Any = policy.pipeline.diffusers
    call |= {
        "prompt": PROMPTS,
        "num_inference_steps": sampling.steps,
        "guidance_scale": policy.protocol.guidance,
        "height": policy.protocol.height,
        "width": policy.protocol.width,
    }
    if policy.protocol.max_sequence_length is not None:
        call["max_sequence_length"] = policy.protocol.max_sequence_length
    own, pipe.scheduler = pipe.scheduler, scheduler
    pipe.vae.enable_slicing()  # pictures are decoded one by one: in a batch, last bits may differ
    latents, images = (
        pipe(generator=generators(), output_type=kind, **call).images for kind in ("latent", "pil")
    )
    pipe.scheduler = own
    pipe.vae.disable_slicing()

    sampler, x = policy.sampler(sampling), policy.noise(generators())
    condition = policy.encode(PROMPTS)
    begun = x
    with torch.no_grad():
        for i in range(sampler.steps):
            output = policy.predict(x, sampler.timesteps[i].expand(len(x)), condition)
            step = sampler.step(output, x, i, stochastic=False)
            assert step.deterministic
            x = step.mean
    close(x, latents)
    assert (x - begun).abs().max() > 0.1

    pictures = policy.decode(latents)
    assert pictures.shape == (len(PROMPTS), 3, policy.protocol.height, policy.protocol.width)
    for picture, image in zip(pictures, images, strict=True):
        file = io.BytesIO()
        image.save(file, "PNG")
        assert torch.equal(picture, read_image(Image.open(file)))


def check_batches(policy: Policy) -> None:
    """A sample is the same alone, in a batch, and in a group."""
    x, timesteps = policy.noise(generators()), torch.tensor([900, 500, 100])
    condition = policy.encode(PROMPTS)
    with torch.no_grad():
        together = policy.predict(x, timesteps, condition)
        for i, prompt in enumerate(PROMPTS):
            row = slice(i, i + 1)
            close(policy.predict(x[row], timesteps[row], policy.encode([prompt])), together[row])
        order = torch.tensor([2, 0, 0, 1])
        close(policy.predict(x[order], timesteps[order], condition.index(order)), together[order])
    assert together.dtype == torch.float32
    # The prompt matters: else nothing above is about conditions.
    with torch.no_grad():
        other = policy.predict(x, timesteps, policy.encode(PROMPTS[::-1][1:] + PROMPTS[:1]))
    assert (other - together).abs().max() > 1e-3


def check_embeddings(policy: Policy) -> None:
    """A prompt is encoded once, and without a graph."""
    pipe: Any = policy.pipeline.diffusers
    policy.encode(PROMPTS)
    calls: list[bool] = []
    hook = pipe.text_encoder.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    first, again = policy.encode(["one more"] * 2), policy.encode(["one more"])
    hook.remove()
    assert calls == [False]
    for name, tensor in first.inputs.items():
        assert not tensor.requires_grad
        assert tensor.shape[:2] == (2 if policy.protocol.guidance > 1 else 1, 2)
        assert torch.equal(tensor[:, :1], again.inputs[name])


def check_training(policy: Policy) -> None:
    """An update moves the trained weights and no others."""
    pipe: Any = policy.pipeline.diffusers
    parts = {n: p for n, p in pipe.components.items() if isinstance(p, torch.nn.Module)}
    trained = policy.parameters()
    learning = [p for part in parts.values() for p in part.parameters() if p.requires_grad]
    assert {id(p) for p in learning} == {id(p) for p in trained.values()}
    assert {p.dtype for p in learning} == {torch.float32}

    before = weights(parts)
    x, timesteps = policy.noise(generators()), torch.tensor([900, 500, 100])
    policy.predict(x, timesteps, policy.encode(PROMPTS)).square().sum().backward()
    optimizer = torch.optim.SGD(trained.values(), lr=1.0)
    optimizer.step()
    optimizer.zero_grad()
    after = weights(parts)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    expected = {f"{policy.part}.{name}" for name in trained}
    # Not all: what a last layer makes of the text, for instance, may go nowhere.
    assert moved <= expected and len(moved) > 0.9 * len(expected)
    for part, module in parts.items():
        module.load_state_dict({name: before[f"{part}.{name}"] for name in module.state_dict()})


def weights(parts: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": value.clone()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
