"""A reward that compares with a reference, registered for one test."""

import pytest
import torch
from made_rewards import card

from rewardkit.engine import registry
from rewardkit.engine.extractor import RawMedia
from rewardkit.engine.reward import Reward, RewardEntry
from rewardkit.media.batch import Clip


class Kept(Reward):
    """How little of the picture it starts from a medium changes, at its first frame."""

    def __init__(self, card):
        self.card, self.extractor = card, RawMedia()

    @classmethod
    def load(cls, card, loader):
        return cls(card)

    def score(self, batch, features):
        changes = []
        for sample in features:
            video = isinstance(sample.medium, Clip)
            seen = sample.clip.frames[0] if video else sample.picture
            changes.append((seen.float() - sample.references["source"].float()).abs().mean())
        return 1 - torch.stack(changes) / 255


@pytest.fixture
def kept(monkeypatch):
    """A reward of images and videos that compares with a reference."""
    own = card("kept", inputs=("image", "video"), needs_references=("source",))
    registry.list_rewards()
    monkeypatch.setitem(registry._entries, "kept", RewardEntry(own, Kept, "this test"))
