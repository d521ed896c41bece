"""Rewards of a test's own."""

import pytest

from rewardkit.engine import registry


@pytest.fixture
def registered(monkeypatch):
    """Registers a reward for this test alone: `registered(card, cls)`."""

    def add(card, cls):
        entry = registry.Entry(card, cls, "a test")
        monkeypatch.setitem(registry._entries, card.name, entry)
        return card

    return add
