"""Rewards and scorers made by hand, for tests of how samples are scored."""

from rewardkit.engine.card import RewardCard
from rewardkit.engine.functions import FunctionReward
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, Term


def card(name, **fields):
    """A card that asks for nothing but pictures."""
    defaults = {"inputs": ("image",), "unit": "u", "range": (None, None)} | fields
    return RewardCard(name=name, summary="More.", **defaults)


def scorer(*rewards):
    """A scorer of rewards that are made already."""
    names = [reward.card.name for reward in rewards]
    spec = RewardSpec(tuple(Term(name) for name in names))
    return Scorer(spec, dict(zip(names, rewards, strict=True)))


def function(name, compute, **fields):
    """A function as a reward of that name."""
    return FunctionReward(card(name, **fields), compute)
