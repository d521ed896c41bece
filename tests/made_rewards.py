"""Rewards and scorers made by hand, for tests of how samples are scored."""

import torch

from rewardkit.engine.card import RewardCard
from rewardkit.engine.functions import FunctionReward
from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, RewardTerm
from rewardkit.media.batch import Clip


def card(name, **fields):
    """A card that asks for nothing but pictures."""
    defaults = {"inputs": ("image",), "unit": "u", "range": (None, None)} | fields
    return RewardCard(name=name, summary="More.", **defaults)


def scorer(*rewards):
    """A scorer of rewards that are made already."""
    names = [reward.card.name for reward in rewards]
    spec = RewardSpec(tuple(RewardTerm(name) for name in names))
    return Scorer(spec, dict(zip(names, rewards, strict=True)))


def function(name, compute, **fields):
    """A function as a reward of that name."""
    return FunctionReward(card(name, **fields), compute)


def check_reward(reward, media, prompts, meta=None, atol=1e-5):
    """The contract of `Reward`: a score depends on its sample alone, and media stay as they are."""
    score, size = LoadedReward(reward), len(media)
    meta = meta or [{}] * size
    pixels = [m.frames if isinstance(m, Clip) else m for m in media]
    before = [tensor.clone() for tensor in pixels]
    together = score(media, prompts, meta)
    alone = [score([media[i]], [prompts[i]], [meta[i]]) for i in range(size)]
    backwards = score(media[::-1], prompts[::-1], meta[::-1]).flip(0)
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=atol)
    torch.testing.assert_close(together, backwards, rtol=0, atol=atol)
    assert torch.equal(together, score(media, prompts, meta)), "deterministic"
    assert together.dtype == torch.float32 and together.shape == (size,)
    assert together.std() > 10 * atol, "a constant would pass all of the above"
    assert all(map(torch.equal, pixels, before)), "media stay as they are"
