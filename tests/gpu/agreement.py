"""Part (a): every family of rewards and every policy computes on the device what the CPU does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tiny_pipelines
import tiny_policies
import torch
from networks import pictures, random_weights
from session import Session
from torch import Tensor

from grpo import policies
from grpo.testing import randomise
from rewardkit.engine.card import RewardCard
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, list_rewards
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, RewardTerm
from rewardkit.generators.pipelines import load
from rewardkit.media.batch import Clip, Medium

#: Largest difference in float32, relative to the largest number where that is above 1.
EXACT = 1e-4
GENEVAL = {"tag": "single_object", "include": [{"class": "cat", "count": 1}], "prompt": "a cat"}
TEXT = {"text": "cat"}  # that an image should show
#: Encoders that are compared at true size.
FULL = ("hps.v2.1", "clip.vit-l-14")
# Those that begin with a picture of their own are left out: Wan and SkyReels from first frames.
POLICIES = [name for name in tiny_policies.ALL if name not in ("sd-v", "skyreels", "wan-i2v")]
GUIDED = ("sd", "sdxl", "sd3", "z-image", "wan")


@contextmanager
def exact() -> Iterator[None]:
    """Convolutions and matrix products in full float32, which cuDNN by itself rounds to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def tiny_rewards(session: Session) -> None:
    """One reward of each family, its network tiny."""
    for card in _families():
        with session.attempt(card.name):
            cpu = scores(card.name, "cpu", "float32", tiny=True)
            with exact():
                here = scores(card.name, str(session.device), "float32", tiny=True)
            session.at_most(f"{card.name}, tiny, float32", _apart(here, cpu), EXACT)
            low = scores(card.name, str(session.device), "bfloat16", tiny=True)
            session.measured(f"{card.name}, tiny, bfloat16", _apart(low, cpu), "apart")


def full_rewards(session: Session) -> None:
    """HPS's ViT-H-14 and CLIP's ViT-L-14; also as float32 is by default, with TF32."""
    for name in FULL:
        with session.attempt(name):
            cpu = scores(name, "cpu", "float32", tiny=session.tiny, drawn_on=session.device)
            with exact():
                here = scores(
                    name, str(session.device), "float32", tiny=session.tiny, drawn_on=session.device
                )
            session.at_most(f"{name}, float32", _apart(here, cpu), EXACT)
            session.holds(f"{name}, scores differ by picture", float(cpu.std()) > 0, "all equal")
            for label, dtype in (("float32 with TF32", "float32"), ("bfloat16", "bfloat16")):
                other = scores(
                    name, str(session.device), dtype, tiny=session.tiny, drawn_on=session.device
                )
                session.measured(f"{name}, {label}", _apart(other, cpu), "apart")


def tiny_policies_agree(session: Session) -> None:
    """The prediction of each policy and its gradient, LoRA and guidance included."""
    for family in POLICIES:
        home = session.home / "policies" / family
        with session.attempt(f"policy {family}"):
            tiny_policies.ALL[family](home.with_name("tokenizer")).save_pretrained(home)
            exactly = predicted(home, torch.device("cpu"), "float32")
            with exact():
                here = predicted(home, session.device, "float32")
            low = predicted(home, session.device, "bfloat16")
            for what, truth, ours, rounded in zip(
                ("prediction", "gradient"), exactly, here, low, strict=True
            ):
                name = f"policy {family}, {what}"
                session.at_most(f"{name}, float32", _relative(ours, truth), EXACT)
                session.measured(f"{name}, bfloat16", _relative(rounded, truth), "apart")


def builtin_pictures(session: Session) -> None:
    """The built-in generator makes the same pictures on the device."""
    made = [
        tiny_pipelines.pictures(
            load("shapes-flow", device=device), ["a red ring", "two blue squares"], [0, 1],
            protocol=load("shapes-flow", device="cpu").protocol,
        )
        for device in ("cpu", str(session.device))
    ]  # fmt: skip
    most, mean = tiny_pipelines.levels(*made)
    session.measured("shapes-flow, largest difference", most, "levels of 255")
    session.at_most("shapes-flow, mean difference", mean, 1, "levels of 255")


def scores(
    name: str, device: str, dtype: str, *, tiny: bool, drawn_on: torch.device | None = None
) -> Tensor:
    """Scores of a few media by a reward of random weights, the same on every device."""
    card = entry(name).card
    media: list[Medium] = list(pictures(4, 32 if tiny else 256))
    if "image" not in card.inputs:
        media = [Clip(torch.stack(pictures(6, 64)).roll(i, 0), 8.0) for i in range(4)]
    prompts = ["a red ring", "a blue cross", "three rings", "a ring left of a cross"]
    with random_weights(tiny, drawn_on):
        loader = Loader(device, dtype)
        scorer = Scorer.load(RewardSpec((RewardTerm(card.name),)), loader)
    return scorer(media, prompts, [GENEVAL | TEXT] * 4)[card.name]


def predicted(folder: Path, device: torch.device, dtype: str) -> tuple[Tensor, Tensor]:
    """A policy's prediction, and the gradient of its mean square by the first trained layer."""
    config = tiny_policies.config(
        folder.name,
        sampler={"guidance": 3.0} if folder.name in GUIDED else {},
        policy={"dtype": dtype},
    ).model_copy(update={"model": str(folder)})
    policy = policies.of(load(folder, device="cpu"), config, device)
    randomise(policy)
    x, timesteps, condition = tiny_policies.inputs(policy)
    output = policy.predict(x, timesteps.to(device), condition)
    output.square().mean().backward()
    gradients = [p.grad.flatten() for p in policy.parameters().values() if p.grad is not None]
    return output.detach().cpu(), torch.cat(gradients).float().cpu()


def _families() -> list[RewardCard]:
    """The first card of each class of rewards that has networks here, but for shapes-motion."""
    first: dict[type, RewardCard] = {}
    for card in list_rewards():
        # shapes-motion takes clips of its own world alone.
        if card.name != "shapes-motion" and not card.needs_endpoint:
            first.setdefault(entry(card.name).cls, card)
    return [*first.values()]


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference; relative to the largest number of the other where that is above 1."""
    return float((one - other).abs().max()) / max(1.0, float(other.abs().max()))


def _relative(one: Tensor, other: Tensor) -> float:
    """The largest difference relative to the largest number of the other."""
    return float((one - other).abs().max() / other.abs().max())
