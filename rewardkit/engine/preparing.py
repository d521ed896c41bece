"""The CPU half of scoring: samples are read and prepared in threads, ahead of the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rewardkit.engine.batches import Prepared
from rewardkit.engine.checks import missing, wrong_kind
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.recovery import as_error
from rewardkit.engine.reward import Reward
from rewardkit.errors import InputError, RewardKitError, describe
from rewardkit.media.batch import LazySample, Sample, kind_of


def prepare(
    batches: Sequence[Sequence[LazySample]], rewards: Sequence[Reward], workers: int, ahead: int
) -> Iterator[list[Prepared]]:
    """Batches read and prepared for `rewards`, in order, at most `ahead` before the consumer."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="rewardkit-decode")
    pending: deque[list[Future[Prepared]]] = deque()
    try:
        for batch in batches:
            pending.append([pool.submit(prepare_sample, sample, rewards) for sample in batch])
            if len(pending) > ahead:
                yield [future.result() for future in pending.popleft()]
        while pending:
            yield [future.result() for future in pending.popleft()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_sample(lazy: LazySample, rewards: Sequence[Reward]) -> Prepared:
    """The CPU half of one sample; an error stands in its place, other rewards go on."""
    try:
        sample = lazy.read()
        assert sample.medium is not None
        kind = kind_of(sample.medium)
    except BaseException as error:
        problem = as_error(error)
        if not isinstance(problem, RewardKitError):
            problem = InputError(describe(problem))
        return Prepared(group=lazy.group, problem=problem)
    readers: dict[Extractor, list[Reward]] = {}
    for reward in rewards:
        readers.setdefault(reward.extractor, []).append(reward)
    halves = {
        extractor: _half(extractor, sample)
        for extractor, own in readers.items()
        # Where no reward that reads it can score the sample, nothing is prepared.
        if any(
            wrong_kind(r.card, kind) is None
            and missing(r.card, sample.prompt, sample.meta, sample.references) is None
            for r in own
        )
    }
    names = frozenset(sample.references)
    return Prepared(sample.without_media(), kind, names, lazy.group, halves)


def _half(extractor: Extractor, sample: Sample) -> Any:
    try:
        return extractor.prepare(sample)
    except BaseException as error:  # becomes the error of every reward that reads it
        return as_error(error)
