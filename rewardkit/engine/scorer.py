"""Several rewards as one: shared encoders run once, a bad sample costs only itself.

`Scorer.stream` is the one way samples are scored, of a folder, in training and in Python: bounded
batches, decoded and prepared in threads; smaller ones where memory does not suffice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.engine.batches import (
    Part,
    Prepared,
    Scored,
    Together,
    attempt,
    cuts,
    parts,
    pieces,
    spread_to_groups,
)
from rewardkit.engine.loader import Loader, check_overrides
from rewardkit.engine.recovery import as_error, is_memory, release, stop_reason
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.reward import (
    BrokenReward,
    Extractor,
    GroupReward,
    Reward,
    missing,
    wrong_kind,
)
from rewardkit.engine.spec import RewardSpec, parse
from rewardkit.errors import (
    InputError,
    RewardKitError,
    RewardUnavailable,
    ScoringError,
    UsageError,
    describe,
)
from rewardkit.media.batch import Batch, Kind, Medium, Sample, kind_of

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("rewardkit")


class Scorer:
    """Computes every reward of a spec on batches of media.

    Use `rewardkit.scorer("clip+sharpness")`; `scorer(images, prompts) -> {name: float32 [B]}`.
    """

    def __init__(self, spec: RewardSpec, rewards: Mapping[str, Reward]) -> None:
        self.spec = spec
        self.rewards = {name: rewards[name] for name in spec.names}
        self._extractors: list[Extractor] = []
        for reward in self.rewards.values():
            if not any(reward.extractor is known for known in self._extractors):
                self._extractors.append(reward.extractor)
        self._groups = [n for n, r in self.rewards.items() if isinstance(r, GroupReward)]
        # As many samples as were found to fit into memory; None as long as all did.
        self._fitting: int | None = None

    @classmethod
    def load(cls, spec: RewardSpec, loader: Loader) -> Scorer:
        """A scorer whose rewards share what `loader` loads."""
        entries = [entry(name) for name in spec.names]
        check_overrides(loader.overrides, [e.card for e in entries])
        loaded = {}
        for known in entries:
            try:
                loaded[known.card.name] = known.cls.load(known.card, loader)
            except (Exception, KeyboardInterrupt):
                raise
            except BaseException as error:  # sys.exit in the code of a reward
                raise RewardKitError(
                    f"{known.card.name} cannot be loaded: its code ended with {describe(error)}"
                ) from error
        return cls(spec, loaded)

    def __repr__(self) -> str:
        return f"<Scorer {self.spec}>"

    def __call__(
        self,
        media: Any,
        prompts: str | Sequence[str | None] | None = None,
        meta: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        groups: Sequence[int] | None = None,
        *,
        batch_size: int = 32,
    ) -> dict[str, torch.Tensor]:
        """Raw scores by reward name, float32 `[B]` on the CPU.

        Args:
            media: anything `rewardkit.media.batch.to_medium` takes, a list of it or one.
            prompts: one per medium, or one for all.
            meta: other keys of each medium's manifest line.
            groups: for a `GroupReward`, the group each sample belongs to.
            batch_size: samples that go through networks at once.

        Raises:
            UsageError: the media, prompts or groups are not what is accepted.
            ScoringError: naming the first sample that cannot be scored, and why.
            RewardUnavailable: a device or service failed.
        """
        import torch

        batch = Batch.of(media, prompts, meta)
        assert batch.media is not None
        if groups is not None and len(groups) != len(batch):
            raise UsageError(f"{len(groups)} groups are given for {len(batch)} samples: one each")
        samples = [
            Sample(_given(medium), prompt, line, None if groups is None else groups[index])
            for index, (medium, prompt, line) in enumerate(
                zip(batch.media, batch.prompts, batch.meta, strict=True)
            )
        ]
        scores: dict[str, list[float | None]] = {name: [] for name in self.rewards}
        index = 0
        for scored in self.stream(samples, batch_size=batch_size):
            for outcome in scored:
                assert outcome is not None
                for error in outcome.errors.values():
                    raise ScoringError(index, error) from error
                for name, score in outcome.scores.items():
                    scores[name].append(score)
                index += 1
        return {name: torch.tensor(values, dtype=torch.float32) for name, values in scores.items()}

    def stream(
        self,
        samples: Sequence[Sample | None],
        *,
        batch_size: int = 32,
        workers: int | None = None,
        ahead: int = 0,
    ) -> Iterator[list[Scored | None]]:
        """The outcomes of samples batch by batch, in order; failures beside the scores.

        Batches are cut at fixed places of `samples`. A batch that is too large for the memory is
        halved, and so are those after it; one that fails otherwise is scored one by one, so that
        only the culprits fail. For a `GroupReward` a batch is as much longer as the groups in it
        need; the other rewards still see at most `batch_size` samples at once.

        Args:
            samples: None keeps the place of one whose score is known already.
            batch_size: samples that go through networks at once.
            workers: threads that read and prepare; by default one per processor, at most 8.
            ahead: batches that are prepared while one is scored. 0 where networks run on the CPU,
                which want every core.

        Raises:
            UsageError: a `GroupReward` is asked for, and a sample has no group.
            RewardUnavailable: a device or service failed: no other sample could be scored.
        """
        if self._groups and any(sample is not None and sample.group is None for sample in samples):
            raise UsageError(
                f"{self._groups[0]} compares the samples of a group: give groups, one number per "
                "sample. It is for training, and cannot score a folder"
            )
        places = cuts(samples, batch_size, whole_groups=bool(self._groups))
        batches = [samples[start:stop] for start, stop in places]
        todo = [[sample for sample in batch if sample is not None] for batch in batches]
        threads = workers or min(8, cpu_count() or 1)
        for batch, prepared in zip(batches, self._prepare(todo, threads, ahead), strict=True):
            outcomes = iter(self._score(prepared, batch_size))
            yield [None if sample is None else next(outcomes) for sample in batch]

    def _prepare(
        self, batches: Sequence[Sequence[Sample]], workers: int, ahead: int
    ) -> Iterator[list[Prepared]]:
        """Batches read and prepared in threads, in order, at most `ahead` before the consumer."""
        pool = ThreadPoolExecutor(workers, thread_name_prefix="rewardkit-decode")
        pending: deque[list[Future[Prepared]]] = deque()
        try:
            for batch in batches:
                pending.append([pool.submit(self._prepare_one, sample) for sample in batch])
                if len(pending) > ahead:
                    yield [future.result() for future in pending.popleft()]
            while pending:
                yield [future.result() for future in pending.popleft()]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _prepare_one(self, sample: Sample) -> Prepared:
        """The CPU half of one sample; an error stands in its place, other rewards go on."""
        try:
            medium = sample.read()
        except BaseException as error:
            problem = as_error(error)
            if not isinstance(problem, RewardKitError):
                problem = InputError(describe(problem))
            return Prepared(sample, None, problem)
        kind = kind_of(medium)
        return Prepared(sample, kind, tuple(self._half(x, medium, kind) for x in self._extractors))

    def _half(self, extractor: Extractor, medium: Medium, kind: Kind) -> Any:
        """What `extractor` prepares; None where no reward that reads it takes such media."""
        readers = [r for r in self.rewards.values() if r.extractor is extractor]
        if not any(kind in reward.card.inputs for reward in readers):
            return None
        try:
            return extractor.prepare(medium)
        except BaseException as error:  # becomes the error of every reward that reads it
            return as_error(error)

    def _slot(self, reward: Reward) -> int:
        return next(i for i, known in enumerate(self._extractors) if known is reward.extractor)

    def _score(self, batch: Sequence[Prepared], batch_size: int) -> list[Scored]:
        """The batched half: every sample's outcome."""
        outcomes = [Scored(dict.fromkeys(self.rewards), {}) for _ in batch]
        for name, reward in self.rewards.items():
            for index, prepared in enumerate(batch):
                problem = self._problem(reward, prepared)
                if problem is not None:
                    _check_going_on(name, problem)
                    outcomes[index].errors[name] = problem
        spread_to_groups(batch, outcomes, self._groups)

        before = min(batch_size, self._fitting or batch_size)
        todo = deque(parts(batch, outcomes, list(self.rewards), self._groups))
        while todo:
            part = todo.popleft()
            smaller = pieces(part, min(batch_size, self._fitting or batch_size), self._groups)
            # What failed is tried again only here, where no frame of its failure is left.
            again = smaller if len(smaller) > 1 else self._try_part(batch, outcomes, part)
            todo.extendleft(reversed(again))
        if self._fitting is not None and self._fitting < before:
            _log.warning(
                f"out of memory: from here on {self._fitting} samples are scored at once, not "
                f"{before}"
            )
        return outcomes

    def _problem(self, reward: Reward, prepared: Prepared) -> Exception | None:
        """What keeps a sample from this reward; None where nothing does."""
        if isinstance(prepared.halves, Exception):
            return prepared.halves
        assert prepared.kind is not None
        half = prepared.halves[self._slot(reward)]
        sample = prepared.sample
        return (
            wrong_kind(reward.card, prepared.kind)
            or (half if isinstance(half, Exception) else None)
            or missing(reward.card, sample.prompt, sample.meta)
        )

    def _try_part(
        self,
        batch: Sequence[Prepared],
        outcomes: Sequence[Scored],
        part: Part,
    ) -> list[Part]:
        """Score a part, write down its scores or errors, and return what is to be tried again."""
        indices, names = part
        together = Together([batch[index] for index in indices])
        again: list[Part] = []
        for place, name in enumerate(names):
            reward = self.rewards[name]
            error = attempt(reward, self._slot(reward), together, [outcomes[i] for i in indices])
            if error is None:
                continue
            _check_going_on(name, error)
            divisible = len(indices) > 1 and name not in self._groups
            if is_memory(error):
                release(error)
                if divisible:
                    self._fitting = min(self._fitting or len(indices), len(indices) // 2)
                    return [*again, *pieces((indices, names[place:]), self._fitting, self._groups)]
            # One by one the culprits show; that a reward returns as many scores as it is given
            # samples would only be hidden by it.
            elif divisible and not isinstance(error, BrokenReward):
                again += [((index,), (name,)) for index in indices]
                continue
            cause = error.cause if isinstance(error, ScoringError) else error
            for index in indices:
                outcomes[index].errors[name] = cause
        return again


def _check_going_on(name: str, error: Exception) -> None:
    """Stop the run for an error that every sample after this one would meet too."""
    reason = stop_reason(error)
    if reason is not None:
        raise RewardUnavailable(f"{name} cannot go on: {reason}") from error


def _given(medium: Medium) -> Callable[[], Medium]:
    return lambda: medium


def create(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, str | Path] | None = None,
) -> Reward:
    """One reward, its weights loaded: `create("clip.vit-l-14")(images, prompts)`.

    Args:
        name: a registered name, a bare family, or FILE.py:NAME.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "float32", "bfloat16" or "float16", of the networks.
        weights: local files instead of the hub's, by the names `rewardkit show` tells.

    Raises:
        UsageError: no such reward, device or dtype.
        WeightsError: its weights cannot be had or do not fit.
    """
    return scorer(name, device=device, dtype=dtype, weights=weights).rewards[resolve(name)]


def scorer(
    spec: str,
    *,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, str | Path] | None = None,
) -> Scorer:
    """A scorer of a reward spec such as "hps+clip"; arguments and errors as for `create`."""
    return Scorer.load(parse(spec, resolve), Loader(device, dtype, weights))
