"""The rewards of earlier steps as a baseline."""

import math

import pytest
import torch
from golden.calls import load

from grpo.advantage import combine
from grpo.history import History, Recent


@pytest.mark.parametrize(
    "call", load("ddpo", "ddpo_pytorch/stat_tracking.py: PerPromptStatTracker, over steps")
)
@pytest.mark.parametrize("resumed", [False, True])
def test_advantages_over_steps_are_ddpos(call, resumed):
    history = History(call.arguments["size"], call.arguments["least"])
    for prompts, rewards, expected in call.results["steps"]:
        if resumed:
            past, history = history.rewards, History(history.size, history.least)
            history.restore(past)
        by = Recent(history, prompts, unbiased=False, eps=1e-6)
        found = combine({"r": torch.tensor(rewards)}, {"r": 1.0}, "advantages", by).values
        torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    assert max(map(len, history.rewards["r"].values())) <= history.size


def test_a_prompt_with_few_rewards_is_compared_with_the_batch():
    by = Recent(History(size=4, least=3), ["a", "b"], unbiased=False, eps=0.0)
    first = by.of("r", torch.tensor([[1.0], [3.0]], dtype=torch.float64))
    assert first.tolist() == [[-1.0], [1.0]]
    by.of("r", torch.tensor([[1.0], [3.0]], dtype=torch.float64))
    third = by.of("r", torch.tensor([[4.0], [3.0]], dtype=torch.float64))
    # Of a: 1, 1, 4, whose mean is 2 and variance 2; b has had the same reward all along.
    assert third[0].item() == pytest.approx(2 / math.sqrt(2)) and third[1].item() == 0
    fifth = [by.of("r", torch.tensor([[x], [3.0]], dtype=torch.float64)) for x in (7.0, 4.0)][1]
    assert by.history.rewards["r"]["a"] == [1.0, 4.0, 7.0, 4.0]  # the oldest is gone
    assert fifth[0].item() == 0.0


def test_each_reward_has_a_history_of_its_own():
    history = History(size=8, least=2)
    rewards = {"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[5.0, 3.0]])}
    for how in ("advantages", "raw"):
        by = Recent(history, ["p"], unbiased=True, eps=1e-8)
        combine(rewards, {"a": 1.0, "b": 2.0}, how, by)
    assert history.rewards["a"]["p"] == [1.0, 2.0, 1.0, 2.0]
    assert history.rewards["b"]["p"] == [5.0, 3.0, 5.0, 3.0]
    assert history.rewards["weighted sum"]["p"] == [11.0, 8.0]
