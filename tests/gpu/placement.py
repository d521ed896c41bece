"""What is where: text encoders visit, rollouts leave the device, memory that runs out is met."""

from __future__ import annotations

import numpy as np
import torch
from full_size import built_on, t5_xxl
from networks import PROMPTS, pictures, trainer
from session import Session
from torch import nn
from transformers import T5Config, T5EncoderModel

from grpo import checkpoint
from grpo.evaluation import generate
from grpo.rollout import collect
from grpo.trainer import Trainer
from rewardkit.engine.extractor import RawMedia
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.engine.reward import Reward
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, RewardTerm
from rewardkit.generators.placement import cast, visiting
from rewardkit.generators.requests import Request
from rewardkit.media.prompts import PromptLine

#: GiB that a phase may leave behind: workspaces of cuBLAS and cuDNN.
LEFT_BEHIND = 0.1
SMALL = {"steps": 3, "group_size": 4, "batch_size": 2}


def checks(session: Session) -> None:
    """All of them, on Stable Diffusion 1.4."""
    made = trainer(session, "sd", sampler=SMALL)
    with session.attempt("places and dtypes"):
        _places(session, made)
    with session.attempt("embedding"):
        _embedding(session, made)
    with session.attempt("rollout"):
        _rollout(session, made)
    with session.attempt("decoding"):
        _decoding(session, made)
    del made
    with session.attempt("resume"):
        _resume(session)
    with session.attempt("out of memory"):
        _out_of_memory(session)
    with session.attempt("media on the device"):
        _media_on_the_device(session)
    for dtype in (torch.bfloat16, torch.float16):
        with session.attempt(f"T5, {dtype}"):
            _t5(session, dtype)


def _places(session: Session, made: Trainer) -> None:
    policy, pipe = made.policy, made.policy.pipeline.diffusers
    trained = {id(p) for p in policy.parameters().values()}
    frozen = {p.dtype for p in policy.network.parameters() if id(p) not in trained}
    session.holds("a LoRA's network is in bfloat16", frozen == {torch.bfloat16}, str(frozen))
    session.holds(
        "what is trained, and the VAE, are in float32",
        {p.dtype for p in [*policy.parameters().values(), *pipe.vae.parameters()]}
        == {torch.float32},
    )
    session.holds(
        "network and VAE are on the device, the text encoder on the CPU",
        _devices(policy.network) == _devices(pipe.vae) == {session.device.type}
        and _devices(pipe.text_encoder) == {"cpu"},
    )


def _embedding(session: Session, made: Trainer) -> None:
    before = session.allocated()
    lines = [PromptLine("", prompt) for prompt in PROMPTS]
    condition = made.policy.encode(lines)
    there = {t.device.type for t in condition.per_sample.values()}
    session.holds("embeddings are on the device", there == {session.device.type}, str(there))
    del condition
    after = session.allocated() - before
    session.at_most("memory left behind by embedding", after, LEFT_BEHIND, "GiB")


def _rollout(session: Session, made: Trainer) -> None:
    lines = made.choose(0)
    plan = made.objective.plan(len(lines), np.random.default_rng(0))
    made.policy.encode(lines)
    before = session.allocated()
    rollout = collect(made.policy, made.sampler, lines, made.config.sampler, plan, (0, 0))
    stored = (rollout.clean, rollout.transitions.states, *rollout.media)
    there = {tensor.device.type for tensor in stored if isinstance(tensor, torch.Tensor)}
    session.holds("what a rollout keeps is on the CPU", there == {"cpu"}, str(there))
    after = session.allocated() - before
    session.at_most("memory left behind by a rollout", after, LEFT_BEHIND, "GiB")


def _decoding(session: Session, made: Trainer) -> None:
    """Evaluation shows the pixels that training scores."""
    policy, seen = made.policy, set()
    decoder: nn.Module = policy.pipeline.diffusers.vae.decoder

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.add((inputs[0].dtype, torch.is_autocast_enabled(session.device.type)))

    handle = decoder.register_forward_pre_hook(note)
    protocol = policy.protocol.model_copy(update={"steps": 2})
    (picture,) = generate(policy, [Request("a red ring", 0)], protocol, 1)
    policy.decode(policy.noise([torch.Generator().manual_seed(0)]))
    handle.remove()
    session.holds("pictures are decoded in float32", seen == {(torch.float32, False)}, str(seen))
    session.holds("pictures come back to the CPU", picture.device.type == "cpu")


def _resume(session: Session) -> None:
    """A run with averaged weights and a reference goes on from its checkpoint."""
    tables = {
        "objective": {"kind": "forward-process", "timesteps": 2, "updates": 1, "kl": 0.1},
        "policy": {"ema": 0.9},
        "sampler": SMALL | {"noise_level": 0.0},
    }
    made = trainer(session, "sd", **tables)
    made.step(0)
    path = checkpoint.save(session.home, 1, made.state(), 1)
    del made
    made = trainer(session, "sd", **tables)
    state = checkpoint.load(path)
    checkpoint.check(path, state, made.state())
    made.restore(state)
    figures = made.step(1)
    path.unlink()
    session.holds("a run resumes from its checkpoint", figures.values["grad_norm"] > 0)
    moments = [moment["exp_avg"] for moment in made.optimizer.adamw.state.values()]
    banks = [value for bank in made.policy.banks.values() for value in bank.values.values()]
    there = {tensor.device.type for tensor in (*moments, *banks)}
    session.holds("moments and averages are on the device", there == {session.device.type})


class Hungry(Reward):
    """Takes a sixth of the free memory for each sample; on a CPU it says that it ran out."""

    def __init__(self, session: Session) -> None:
        self.card, self.extractor, self.session = entry("sharpness").card, RawMedia(), session
        self.seen: list[int] = []
        self.each = torch.cuda.mem_get_info(session.device)[0] // 6 if session.cuda else 0

    @classmethod
    def load(cls, card, loader):
        raise NotImplementedError

    def score(self, batch, features):
        self.seen.append(len(features))
        if self.session.cuda:
            torch.empty(self.each * len(features), dtype=torch.uint8, device=self.session.device)
        elif len(features) > 7:
            raise torch.OutOfMemoryError("out of memory")
        return torch.arange(len(features), dtype=torch.float32)


def _out_of_memory(session: Session) -> None:
    reward = Hungry(session)
    name = reward.card.name
    scorer = Scorer(RewardSpec((RewardTerm(name),)), {name: reward})
    before = session.allocated()
    scores = scorer(pictures(32, side=8), "a cat")[name]
    session.holds("out of memory: every sample is scored", len(scores) == 32)
    session.holds("out of memory: batches are halved", reward.seen[0] == 32 and reward.seen[-1] < 8)
    after = session.allocated() - before
    session.at_most("out of memory: memory left behind", after, LEFT_BEHIND, "GiB")


def _media_on_the_device(session: Session) -> None:
    """Pictures that lie on the device are scored as those on the CPU, bytes and floats."""
    scorer = Scorer.load(
        RewardSpec((RewardTerm("shapes-clip"), RewardTerm("sharpness"))), Loader("cpu")
    )
    media = torch.stack(pictures(4, side=32))
    here = scorer(media, "a red ring")
    on_device = media.to(session.device)
    for what, moved in (("bytes", on_device), ("floats", on_device / 255)):
        there = scorer(moved, "a red ring")
        same = all(torch.equal(here[name], there[name]) for name in here)
        session.holds(f"pictures on the device, {what}, score as those on the CPU", same)


def _t5(session: Session, dtype: torch.dtype) -> None:
    """T5 visits the device, and keeps the layers that its authors keep in float32."""
    tiny = T5Config(
        vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    with built_on(session.device, dtype):
        t5 = T5EncoderModel(tiny) if session.tiny else t5_xxl()
    t5 = t5.to("cpu").eval()
    before = session.allocated()
    cast(t5, dtype)
    tokens = torch.arange(2, 22).reshape(2, 10)
    name = f"T5-XXL, {str(dtype).removeprefix('torch.')}"

    def visit() -> torch.Tensor:
        with visiting([t5], session.device), torch.no_grad():
            return t5(tokens.to(session.device))[0].cpu()

    with session.memory(f"{name}, memory of its visit"):
        embedded = visit()
    session.measured(f"{name}, there and back", session.timed_once(visit), "s")
    session.holds(f"{name}, embeddings are finite", bool(embedded.isfinite().all()))
    session.holds(f"{name} is at home again", _devices(t5) == {"cpu"})
    after = session.allocated() - before
    session.at_most(f"{name}, memory left behind", after, LEFT_BEHIND, "GiB")


def _devices(network: nn.Module) -> set[str]:
    return {parameter.device.type for parameter in network.parameters()}
