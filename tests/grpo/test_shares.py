"""Batches are dealt whole and in turn; a process that keeps step repeats the first."""

import pytest

from grpo.shares import Shares, cut


@pytest.mark.parametrize("lockstep", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("number", [1, 4, 15])
def test_every_item_counts_once_on_the_process_that_holds_it_first(number, size, lockstep):
    batches = cut(number, 2)
    processes = [Shares(batches, rank, size, lockstep) for rank in range(size)]
    counted = [item for shares in processes for item in shares.counted]
    assert sorted(counted) == list(range(number))
    for rank, shares in enumerate(processes):
        assert all(shares.holders[item][0] == rank for item in shares.counted)
        held = {item for batch, _ in shares.mine for item in batch}
        assert held == {item for item, ranks in shares.holders.items() if rank in ranks}
    if lockstep:
        assert len({len(shares.mine) for shares in processes}) == 1


def test_batches_go_round_and_those_with_fewer_begin_with_the_first():
    second = Shares(cut(5, 2), rank=1, size=2, lockstep=True)
    # 0 1 | 2 3 | 4: the first process has two, the second one and a repetition.
    assert second.mine == [(range(0, 2), 0), (range(2, 4), 2)]
    assert second.holders == {0: (0, 1), 1: (0, 1), 2: (1,), 3: (1,), 4: (0,)}


def test_an_item_is_sent_by_where_it_counts_to_those_that_lack_it():
    drawn = [Shares(cut(6, 2), rank, 3) for rank in range(3)]  # 0 1 | 2 3 | 4 5
    wanted = {0: (0,), 2: (0, 2), 5: (1,)}
    assert drawn[0].outgoing(wanted) == [[], [], []]
    assert drawn[1].outgoing(wanted) == [[2], [], [2]]
    assert drawn[2].outgoing(wanted) == [[], [5], []]


def test_shares_of_updates_are_joined_and_some_batches_held_everywhere():
    updates = [Shares([[0, 1], [2]], 0, 2), Shares([[3], [4]], 0, 2)]
    joined = Shares.joined(updates, everywhere=[[2]])
    assert joined.mine == [([0, 1], 2), ([3], 1)]
    assert joined.holders == {0: (0,), 1: (0,), 2: (1, 0), 3: (0,), 4: (1,)}
