"""Scoring beside sampling gives the scores of scoring afterwards, and fails as it does."""

import threading

import pytest
import tiny_policies
import tiny_runs
import torch

from grpo.overlap import beside
from grpo.rewards import Rewards
from rewardkit.devices import same_device
from rewardkit.errors import ScoringError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def made(folders, tmp_path, score):
    """A trainer that draws eight samples by two and has `score` score them by three."""
    judge = tmp_path / "judge.py"
    judge.write_text("def score(batch): pass", "utf-8")
    asked = tiny_runs.config(
        folders["sd"],
        top={"reward": f"{judge}:score"},
        sampler={"group_size": 4, "batch_size": 2},
        scoring={"batch_size": 3},
    )
    trainer = tiny_runs.trainer(asked)
    trainer.rewards = Rewards(asked.reward, "cpu", asked.scoring)
    (reward,) = trainer.rewards.scorer.rewards.values()
    reward._function = score
    return trainer


def spread(batch):
    return [float(medium.float().std()) for medium in batch.media]


def decoding(trainer, hook):
    """Calls `hook` with the number of the batch before each is decoded."""
    real, calls = trainer.policy.decode, iter(range(100))
    trainer.policy.decode = lambda x: (hook(next(calls)), real(x))[1]


def overlapped(monkeypatch):
    monkeypatch.setattr("grpo.overlap.beside", lambda rewards, policy: True)


def test_scores_overlap_where_the_rewards_have_a_device_of_their_own(folders):
    trainer = tiny_runs.trainer(tiny_runs.config(folders["sd"]))
    assert not beside(trainer.rewards, trainer.policy)
    trainer.policy.device = torch.device("meta")
    assert beside(trainer.rewards, trainer.policy)
    trainer.policy.world.size = 2  # they send each other what they score
    assert not beside(trainer.rewards, trainer.policy)
    assert same_device(torch.device("cuda"), torch.device("cuda", 0))
    assert not same_device(torch.device("cuda", 1), torch.device("cuda"))


def test_samples_are_scored_while_others_are_drawn_and_nothing_else_changes(
    folders, tmp_path, monkeypatch
):
    def trained(wait):
        scored, sizes = threading.Event(), []

        def score(batch):
            sizes.append(len(batch.media))
            scored.set()
            return spread(batch)

        trainer = made(folders, tmp_path, score)
        if wait:  # the last batch is decoded once the first is scored: else this takes forever
            decoding(trainer, lambda number: number == 3 and (scored.wait(60) or pytest.fail()))
        figures = [trainer.step(index).values for index in range(2)]
        return sizes, figures, dict(tiny_runs.flat(trainer.state(), ""))

    after = trained(wait=False)
    overlapped(monkeypatch)
    during = trained(wait=True)
    assert during[:2] == after[:2] and during[0] == [3, 3, 2] * 2
    assert tiny_runs.same(during[2], after[2])


def test_a_sample_without_a_score_is_reported_as_ever(folders, tmp_path, monkeypatch):
    def score(batch):
        raise ValueError("the lamp is out")

    def report():
        with pytest.raises(ScoringError) as caught:
            made(folders, tmp_path, score).step(0)
        return str(caught.value), caught.value.index

    after = report()
    assert "sample 0" in after[0] and "the lamp is out" in after[0] and "judge.py" in after[0]
    overlapped(monkeypatch)
    assert report() == after
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scoring")]


def test_an_interrupt_while_samples_are_drawn_ends_scoring(folders, tmp_path, monkeypatch):
    sizes = []

    def score(batch):
        sizes.append(len(batch.media))
        return spread(batch)

    def interrupt(number):
        if number == 2:
            raise KeyboardInterrupt

    overlapped(monkeypatch)
    trainer = made(folders, tmp_path, score)
    decoding(trainer, interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.step(0)
    for thread in threading.enumerate():
        if thread.name == "scoring":
            thread.join(60)
            assert not thread.is_alive()
    assert sum(sizes) <= 4  # as many as were drawn


def test_an_interrupt_does_not_wait_for_the_batch_that_is_being_scored(
    folders, tmp_path, monkeypatch
):
    scoring, released = threading.Event(), threading.Event()

    def score(batch):
        scoring.set()
        assert released.wait(60)
        return spread(batch)

    def interrupt(number):
        if number == 2:
            assert scoring.wait(60)
            raise KeyboardInterrupt

    overlapped(monkeypatch)
    trainer = made(folders, tmp_path, score)
    decoding(trainer, interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.step(0)
    (thread,) = (each for each in threading.enumerate() if each.name == "scoring")
    assert thread.daemon  # nor does the process
    released.set()
    thread.join(60)
    assert not thread.is_alive()
