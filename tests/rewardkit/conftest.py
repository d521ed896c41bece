"""Rewards of a test's own."""

import pytest

from rewardkit.engine import registry
from rewardkit.engine.reward import RewardEntry


@pytest.fixture
def registered(monkeypatch):
    """Registers a reward for this test alone: `registered(card, cls)`."""

    def add(card, cls):
        entry = RewardEntry(card, cls, "a test")
        monkeypatch.setitem(registry._entries, card.name, entry)
        return card

    return add
