"""Clips per second of VideoAlign's rewards, beside the bare forward of their network."""

from __future__ import annotations

from typing import Any

import torch
from full_size import built_on
from golden.media import clip
from golden.videoalign import PUBLISHED
from made_rewards import scorer
from session import Session
from torch.utils.flop_counter import FlopCounterMode

from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.media.batch import Sample
from rewardkit.rewards import videoalign

NAMES = [f"videoalign.{tag}" for tag in ("vq", "mq", "ta", "overall")]
PROMPT = "a red ring moves to the left of a box"


def throughput(session: Session) -> None:
    """Four rewards of clips of DanceGRPO's size in bfloat16, and the network alone."""
    loader = _loader(session)
    rewards = [entry(name).cls.load(entry(name).card, loader) for name in NAMES]
    score, judge = scorer(*rewards), rewards[0].extractor
    number, side, frames = (2, 64, 9) if session.tiny else (16, 480, 53)
    media = [clip(seed, (side, side), frames, 8.0, velocity=(1.0, 0.5)) for seed in range(number)]

    found = torch.stack(list(score(media, PROMPT).values()))
    session.holds("VideoAlign, every score is finite", bool(found.isfinite().all()), "they are not")
    seconds = session.timed(lambda: score(media, PROMPT), 3)
    session.measured(
        "VideoAlign, four rewards, batches of 8, bfloat16", number / seconds, "clips/s"
    )

    batch = [judge.prepare(Sample(medium, PROMPT)) for medium in media[:8]]
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            judge.features(batch)
        with session.memory("VideoAlign, the network alone, batches of 8, memory"):
            alone = session.timed(lambda: judge.features(batch), 3)
    session.measured("VideoAlign, the network alone, batches of 8", len(batch) / alone, "clips/s")
    session.share_of_peak("VideoAlign, the network alone", counter.get_total_flops(), alone)


def _loader(session: Session) -> Loader:
    """One whose checkpoint of VideoAlign is random: of the published sizes, or tiny."""
    loader = Loader(str(session.device), "bfloat16", tiny=session.tiny)
    if not session.tiny:
        loader.shared(videoalign.CHECKPOINT, lambda: (_judge(loader), videoalign.NORMS))
    return loader


def _judge(loader: Loader) -> Any:
    from tokenizers import AddedToken
    from transformers import Qwen2VLConfig, Qwen2VLModel

    from rewardkit.engine.vision_language import LoadedJudge
    from rewardkit.weights.nets.qwen2_vl import QwenJudge
    from rewardkit.weights.nets.qwen2_vl_tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer(videoalign.template(), words=151_643)
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in videoalign.TOKENS])
    config = Qwen2VLConfig(**PUBLISHED)
    config.text_config.vocab_size = len(tokenizer)
    with built_on(loader.device, loader.dtype):
        model = Qwen2VLModel(config)
    head = torch.nn.Linear(config.text_config.hidden_size, len(videoalign.TOKENS), bias=False)
    network = QwenJudge(model, head.to(loader.device)).eval().requires_grad_(False)
    return LoadedJudge(
        loader.keep(network), tokenizer.backend_tokenizer, loader.device, loader.dtype
    )
