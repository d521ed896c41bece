"""Batches are bounded, shrink where memory does not suffice, and stop where nothing can go on."""

import gc
import logging
import weakref
from pathlib import Path
from unittest.mock import patch

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from made_rewards import card, function, scorer
from streamed import outcomes

import rewardkit
from rewardkit.engine.extractor import Extractor, RawMedia
from rewardkit.engine.recovery import is_memory, stop_reason
from rewardkit.engine.reward import GroupReward, Reward
from rewardkit.errors import InputError, RewardUnavailable, ScoringError, UsageError
from rewardkit.media.batch import Clip, LazySample, Sample


def levels(*values):
    return [torch.full((3, 2, 2), value, dtype=torch.uint8) for value in values]


def first(batch):
    return [float(m[0, 0, 0]) for m in batch.media]


class Group(GroupReward):
    """The sample's level less the mean of its group; `sizes` are those it was asked with."""

    def __init__(self, name="group", **fields):
        self.card, self.extractor, self.sizes = card(name, **fields), RawMedia(), []

    @classmethod
    def load(cls, card, loader):
        return cls()

    def score(self, batch, features):
        self.sizes.append(len(features))
        light = torch.tensor([float(s.picture[0, 0, 0]) for s in features])
        return light - light.mean()


def test_batches_are_bounded_and_keep_their_places():
    sizes = []
    counting = scorer(function("counting", lambda b: sizes.append(len(b)) or first(b)))
    samples = [LazySample.of(Sample(m)) for m in levels(*range(10))]
    samples[1] = samples[4] = None  # known already: their places stay in their batches
    scored = list(counting.stream(samples, batch_size=4))
    assert sizes == [3, 3, 2] and [len(batch) for batch in scored] == [4, 4, 2]
    flat = [s and s.scores["counting"] for batch in scored for s in batch]
    assert flat == [0, None, 2, 3, None, 5, 6, 7, 8, 9]


def test_calling_a_scorer_is_bounded_too():
    sizes = []
    counting = scorer(function("counting", lambda b: sizes.append(len(b)) or first(b)))
    assert counting(levels(*range(10)), batch_size=4)["counting"].tolist() == list(range(10))
    counting(levels(*range(40)))
    assert sizes == [4, 4, 2, 32, 8]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_at_most_so_many_batches_are_read_ahead(ahead):
    read, seen = [], []

    def medium(value):
        read.append(value)
        return Sample(levels(value)[0])

    counting = scorer(function("counting", first))
    samples = [LazySample(lambda value=value: medium(value)) for value in range(20)]
    for _ in counting.stream(samples, batch_size=2, workers=1, ahead=ahead):
        seen.append(len(read))
    assert all(n <= 2 * (i + 1 + ahead) for i, n in enumerate(seen))


class Network(Extractor):
    """Features that take as much memory as there are samples, of which `room` fit."""

    def __init__(self, room, raise_):
        self.room, self.raise_, self.sizes, self.alive, self.kept = room, raise_, [], [], []

    def prepare(self, sample):
        return sample.medium

    def features(self, prepared):
        gc_was = gc.isenabled()
        gc.disable()
        try:
            self.alive.append(sum(reference() is not None for reference in self.kept))
        finally:
            if gc_was:
                gc.enable()
        activations = torch.zeros(len(prepared), 1000)
        self.kept.append(weakref.ref(activations))
        self.sizes.append(len(prepared))
        if len(prepared) > self.room:
            self.raise_()
        return [float(m[0, 0, 0]) for m in prepared]


class Read(Reward):
    """The number its extractor says."""

    def __init__(self, name, extractor, **fields):
        self.card, self.extractor = card(name, **fields), extractor

    @classmethod
    def load(cls, card, loader):
        raise NotImplementedError

    def score(self, batch, features):
        return torch.tensor(features)


def used_up():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")


def used_up_deeper():
    try:
        used_up()
    except RuntimeError as error:
        raise ValueError("the network failed") from error


@pytest.mark.parametrize("fail", [used_up, used_up_deeper])
def test_out_of_memory_halves_the_batch_once_its_tensors_are_gone(caplog, fail):
    network = Network(5, fail)
    two = scorer(Read("a", network), Read("b", network))
    with caplog.at_level(logging.WARNING, "rewardkit"):
        got = outcomes(two, levels(*range(40)), batch_size=16)
    assert [o.scores for o in got] == [{"a": v, "b": v} for v in range(40)]
    # 16 and 8 are too many; 4 fit, in this batch and in all after it, for both rewards at once.
    assert network.sizes == [16, 8, *[4] * 10]
    assert network.alive == [0] * 12, "a failed batch's tensors were alive while it was tried again"
    assert [r.message for r in caplog.records] == [
        "out of memory: from here on a and b score 4 samples at once, not 16"
    ]


def test_a_sample_too_large_for_the_memory_fails_alone():
    def too_large(batch):
        if any(m[0, 0, 0] == 3 for m in batch.media):
            used_up()
        return first(batch)

    got = outcomes(scorer(function("f", too_large)), levels(*range(6)), batch_size=4)
    assert [o.scores["f"] for o in got] == [0, 1, 2, None, 4, 5]
    assert "out of memory" in str(got[3].errors["f"])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 4000000000 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)  # fmt: skip
def test_every_form_of_too_little_memory_is_known(error):
    assert is_memory(error) and stop_reason(error) is None


# torch before 2.8 raises a RuntimeError.
DEVICE_ERROR = getattr(torch, "AcceleratorError", RuntimeError)


@pytest.mark.parametrize(
    "error",
    [
        DEVICE_ERROR("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be ..."),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("HIP error: invalid device function"),
        RewardUnavailable("the server at localhost:8000 does not answer"),
    ],
)
def test_a_failed_device_or_service_stops_the_run(error):
    sizes = []

    def fail(batch):
        sizes.append(len(batch))
        if len(sizes) == 2:
            raise error
        return first(batch)

    stream = scorer(function("judge", fail)).stream(
        [LazySample.of(Sample(m)) for m in levels(*range(12))], batch_size=4
    )
    assert [s.scores["judge"] for s in next(stream)] == [0, 1, 2, 3]
    with pytest.raises(RewardUnavailable, match="judge cannot go on: ") as caught:
        next(stream)
    assert sizes == [4, 4] and "might be" not in str(caught.value)


def test_a_service_that_an_extractor_asks_stops_the_run_too():
    class Dead(Network):
        def prepare(self, sample):
            raise RewardUnavailable("no answer")

    with pytest.raises(RewardUnavailable, match="a cannot go on: no answer"):
        outcomes(scorer(Read("a", Dead(9, used_up))), levels(1, 2))


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("bye"), GeneratorExit(), RuntimeError])
@pytest.mark.parametrize("where", ["prepare", "features"])
def test_whatever_code_raises_is_an_error_of_that_reward_alone(error, where):
    broken = Network(9, used_up)

    def fail(argument):
        raise error

    setattr(broken, where, fail)
    got = outcomes(scorer(Read("broken", broken), function("fine", first)), levels(1, 2))
    assert [o.scores for o in got] == [{"broken": None, "fine": v} for v in (1, 2)]
    assert type(error).__name__ in str(got[0].errors["broken"]) or error is RuntimeError


def test_ctrl_c_is_the_users_and_ends_the_run():
    def interrupted(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outcomes(scorer(function("f", interrupted)), levels(1))


@pytest.mark.parametrize("order", [("both", "stills"), ("stills", "both")])
def test_kinds_are_checked_for_each_reward_of_an_extractor(order):
    class Any(Network):
        def features(self, prepared):
            return [1.0] * len(prepared)

    shared = Any(9, used_up)
    rewards = {
        "both": Read("both", shared, inputs=("image", "video")),
        "stills": Read("stills", shared, inputs=("image",)),
    }
    clip = Clip(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), 8.0)
    picture, video = outcomes(scorer(*(rewards[name] for name in order)), [*levels(1), clip])
    assert picture.scores == {"both": 1.0, "stills": 1.0}
    assert video.scores == {"both": 1.0, "stills": None}
    assert str(video.errors["stills"]) == "stills takes images; a video was given"


def test_a_group_with_a_sample_that_cannot_be_scored_is_not_scored_in_part():
    group = Group(needs_meta=("key",))
    meta = [{"key": 1}] * 6
    meta[1] = {}
    got = outcomes(scorer(group), levels(*range(6)), meta=meta, groups=[7, 7, 7, 8, 8, 8])
    assert group.sizes == [3]
    assert [o.scores["group"] for o in got] == [None, None, None, -1, 0, 1]
    assert all("needs the keys key" in str(o.errors["group"]) for o in got[:3])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 5))
def test_no_batch_cuts_a_group_and_other_rewards_stay_bounded(groups, batch_size):
    group, sizes = Group(), []
    plain = function("plain", lambda b: sizes.append(len(b)) or first(b))
    got = outcomes(
        scorer(group, plain), levels(*range(len(groups))), groups=groups, batch_size=batch_size
    )
    assert sorted(group.sizes) == sorted(groups.count(g) for g in set(groups))
    assert max(sizes) <= batch_size
    for index, outcome in enumerate(got):
        own = [i for i, g in enumerate(groups) if g == groups[index]]
        assert outcome.scores["plain"] == index
        assert outcome.scores["group"] == pytest.approx(index - sum(own) / len(own))


def test_a_group_whose_members_are_known_in_part_is_refused():
    samples = [LazySample.of(Sample(m), 0) for m in levels(1, 2)]
    with pytest.raises(UsageError, match="one number per sample, and every sample"):
        list(scorer(Group()).stream([*samples, None]))


def test_a_reward_sees_no_more_samples_than_its_card_allows_and_others_see_whole_batches():
    small, large = Network(9, used_up), Network(9, used_up)
    rewards = Read("small", small, batch_size=3), Read("large", large)
    got = outcomes(scorer(*rewards), levels(*range(16)), batch_size=8)
    assert small.sizes == [3, 3, 2] * 2 and large.sizes == [8, 8]
    assert [o.scores for o in got] == [{"small": v, "large": v} for v in range(16)]


def test_running_out_of_memory_makes_the_batches_of_that_extractor_alone_smaller():
    hungry, frugal = Network(2, used_up), Network(9, used_up)
    outcomes(scorer(Read("a", hungry), Read("b", frugal)), levels(*range(8)), batch_size=4)
    assert hungry.sizes == [4, 2, 2, 2, 2] and frugal.sizes == [4, 4]


def test_rewards_compute_without_gradients_and_media_are_let_go():
    seen = []

    class Curious(Network):
        def features(self, prepared):
            seen.append(torch.is_inference_mode_enabled())
            return super().features(prepared)

    class Asks(Read):
        def score(self, batch, features):
            seen.append(torch.is_inference_mode_enabled())
            assert [s.medium for s in batch.samples] == [None, None]
            with pytest.raises(UsageError, match="the extractor RawMedia"):
                assert batch.media
            return super().score(batch, features)

    reward = Asks("a", Curious(9, used_up))
    got = outcomes(scorer(reward), levels(1, 2), references=[{"source": m} for m in levels(1, 2)])
    assert [o.scores["a"] for o in got] == [1, 2] and seen == [True, True]
    code = [p.read_text("utf-8") for p in Path(rewardkit.__file__).parent.rglob("*.py")]
    assert sum(text.count("inference_mode()") for text in code) == 1, "in the scorer, and once"


def test_reference_media_are_checked_for_each_reward_of_an_extractor():
    class Changed(Network):
        def prepare(self, sample):
            return sample.picture - sample.references.get("source", 0)

    shared = Changed(9, used_up)
    two = scorer(Read("edit", shared, needs_references=("source",)), Read("plain", shared))
    references = [{"source": levels(2)[0]}, {}, {"mask": levels(1)[0]}]
    got = outcomes(two, levels(5, 6, 7), references=references)
    assert [o.scores for o in got] == [
        {"edit": 3, "plain": 3},
        {"edit": None, "plain": 6},
        {"edit": None, "plain": 7},
    ]
    assert "this sample has no source" in str(got[1].errors["edit"])


def test_a_group_reward_is_not_halved():
    class Large(Group):
        def score(self, batch, features):
            self.sizes.append(len(features))
            return used_up()

    large = Large()
    got = outcomes(scorer(large, function("f", first)), levels(1, 2, 3, 4), groups=[0] * 4)
    assert large.sizes == [4]
    assert all(o.scores["group"] is None and o.scores["f"] is not None for o in got)


def test_a_stream_without_groups_refuses_a_group_reward():
    with pytest.raises(UsageError, match="group compares the samples of a group"):
        outcomes(scorer(Group()), levels(1))
    with pytest.raises(UsageError, match="1 groups are given for 2 samples"):
        scorer(Group())(levels(1, 2), groups=[0])


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 9),
    room=st.integers(1, 9),
    bad=st.sets(st.integers(0, 19)),
    unread=st.sets(st.integers(0, 19)),
    known=st.sets(st.integers(0, 19)),
)
def test_whatever_fails_every_other_sample_has_its_score(size, room, bad, unread, known):
    def compute(batch):
        if len(batch) > room:
            used_up()
        return [1 / 0 if int(v) in bad else v for v in first(batch)]

    def medium(value):
        if value in unread:
            raise InputError("no file")
        return Sample(levels(value)[0])

    two = scorer(function("picky", compute), function("fine", first))
    samples = [
        None if value in known else LazySample(lambda value=value: medium(value))
        for value in range(20)
    ]
    with patch("rewardkit.engine.recovery.gc.collect"):  # slow, and nothing is in cycles here
        flat = [s for batch in two.stream(samples, batch_size=size, workers=2) for s in batch]
    for value, outcome in enumerate(flat):
        if value in known:
            assert outcome is None
        else:
            there = value not in unread
            assert outcome.scores["fine"] == (value if there else None)
            assert outcome.scores["picky"] == (value if there and value not in bad else None)
            assert {n for n, s in outcome.scores.items() if s is None} == set(outcome.errors)


def test_the_first_sample_that_fails_is_counted_over_all_batches():
    picky = function("picky", lambda b: [1 / 0 if v == 5 else v for v in first(b)])
    with pytest.raises(ScoringError, match="sample 5 cannot be scored") as caught:
        scorer(picky)(levels(*range(8)), batch_size=2)
    assert caught.value.index == 5
