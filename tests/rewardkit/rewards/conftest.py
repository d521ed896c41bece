"""Rewards of CLIP on the weights that upstream's code was given for a golden file."""

import open_clip
import pytest
from golden.clip import tiny
from golden.prompted import fill
from parity import upstream_state
from safetensors.torch import save_file

from rewardkit.engine.card import RewardCard
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.engine.reward import Reward


@pytest.fixture
def seeded(home, monkeypatch):
    """`seeded(card, ...)`: the reward of a card, by the whole real path from its files of weights.

    The network is the small one of `golden.clip`. `heads` are the modules of the card's own files;
    `activation` is transformers' name, where upstream's network was one of transformers.
    """
    config_of = open_clip.get_model_config
    monkeypatch.setattr(
        open_clip,
        "get_model_config",
        lambda name: config_of(name) | tiny(config_of(name)["embed_dim"]),
    )

    def load(card: RewardCard, heads=(), convert=None, activation: str | None = None) -> Reward:
        dim = open_clip.get_model_config(card.encoder.architecture)["embed_dim"]
        state = upstream_state(dim, activation)
        states = [convert(state) if convert else state]
        states += [fill(head.state_dict()) for head in heads]
        files = {weights.name: home / f"{weights.name}.safetensors" for weights in card.all_weights}
        for file, tensors in zip(files.values(), states, strict=True):
            save_file({key: value.contiguous() for key, value in tensors.items()}, file)
        return entry(card.name).cls.load(card, Loader("cpu", weights=files))

    return load
