"""Several rewards as one: shared encoders run once, a bad sample costs only itself.

`Scorer.stream` is the one way samples are scored, of a folder, in training and in Python: bounded
batches, read and prepared in threads; smaller ones where memory does not suffice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from os import cpu_count
from typing import TYPE_CHECKING, Any

from rewardkit.engine.batches import (
    Outcome,
    Prepared,
    SubBatch,
    Together,
    attempt,
    cuts,
    pieces,
    spread_to_groups,
    sub_batches,
)
from rewardkit.engine.checks import BrokenReward, missing, wrong_kind
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.loader import Loader, check_overrides
from rewardkit.engine.preparing import prepare
from rewardkit.engine.recovery import is_memory, release, stop_reason
from rewardkit.engine.registry import entry
from rewardkit.engine.reward import GroupReward, Reward
from rewardkit.engine.spec import RewardSpec
from rewardkit.errors import RewardKitError, RewardUnavailable, ScoringError, UsageError, describe
from rewardkit.media.batch import Batch, LazySample

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("rewardkit")


class Scorer:
    """Computes every reward of a spec on batches of samples.

    Use `rewardkit.scorer("clip+sharpness")`; `scorer(images, prompts) -> {name: float32 [B]}`.

    Attributes:
        spec: the rewards and how they add up.
        rewards: by name.
    """

    def __init__(self, spec: RewardSpec, rewards: Mapping[str, Reward]) -> None:
        self.spec = spec
        self.rewards = {name: rewards[name] for name in spec.names}
        self._groups = [n for n, r in self.rewards.items() if isinstance(r, GroupReward)]
        # As many samples as were found to fit into memory, by the extractors that ran out of it.
        self._fitting: dict[Extractor, int] = {}

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
        references: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        batch_size: int = 32,
    ) -> dict[str, torch.Tensor]:
        """Raw scores by reward name, float32 `[B]` on the CPU.

        Args:
            media: anything `rewardkit.media.batch.to_medium` takes, a list of it or one.
            prompts: one per medium, or one for all.
            meta: other keys of each medium's manifest line.
            groups: for a `GroupReward`, the group each sample belongs to.
            references: for rewards that compare, named media for each medium.
            batch_size: number of samples that go through networks at once.

        Raises:
            UsageError: the media, prompts or groups are not what is accepted.
            ScoringError: naming the first sample that cannot be scored, and why.
            RewardUnavailable: a device or service failed.
        """
        import torch

        batch = Batch.of(media, prompts, meta, references)
        if groups is not None and len(groups) != len(batch):
            raise UsageError(f"{len(groups)} groups are given for {len(batch)} samples: one each")
        numbers = [None] * len(batch) if groups is None else groups
        samples = [LazySample.of(*pair) for pair in zip(batch.samples, numbers, strict=True)]
        scored = [o for batch in self.stream(samples, batch_size=batch_size) for o in batch if o]
        for index, outcome in enumerate(scored):
            for error in outcome.errors.values():
                raise ScoringError(index, error) from error
        return {
            name: torch.tensor([outcome.scores[name] for outcome in scored], dtype=torch.float32)
            for name in self.rewards
        }

    def stream(
        self,
        samples: Sequence[LazySample | None],
        *,
        batch_size: int = 32,
        workers: int | None = None,
        ahead: int = 0,
    ) -> Iterator[list[Outcome | None]]:
        """The outcomes of samples batch by batch, in order; failures beside the scores.

        Batches are cut at fixed places of `samples`. A batch that is too large for the memory is
        halved, and so are those after it; one that fails otherwise is scored one by one, so that
        only the culprits fail. A reward sees at most `batch_size` samples at once, and at most the
        `batch_size` of its card; but a `GroupReward` sees a whole group, however large.

        Args:
            samples: None keeps the place of one whose score is known already.
            batch_size: samples that go through networks at once.
            workers: threads that read and prepare; by default one per processor, at most 8.
            ahead: batches that are prepared while one is scored. 0 where networks run on the CPU,
                which want every core.

        Raises:
            UsageError: a `GroupReward` is asked for, and a sample has no group or is left out.
            RewardUnavailable: a device or service failed: no other sample could be scored.
        """
        if self._groups and any(sample is None or sample.group is None for sample in samples):
            raise UsageError(
                f"{self._groups[0]} compares the samples of a group: give groups, one number per "
                "sample, and every sample. It is for training, and cannot score a folder"
            )
        places = cuts(samples, batch_size, whole_groups=bool(self._groups))
        batches = [samples[start:stop] for start, stop in places]
        todo = [[sample for sample in batch if sample is not None] for batch in batches]
        threads = workers or min(8, cpu_count() or 1)
        ready = prepare(todo, list(self.rewards.values()), threads, ahead)
        for batch, prepared in zip(batches, ready, strict=True):
            outcomes = iter(self._score(prepared, batch_size))
            yield [None if sample is None else next(outcomes) for sample in batch]

    def _score(self, batch: Sequence[Prepared], batch_size: int) -> list[Outcome]:
        """The batched half: the outcome of every sample."""
        outcomes = [Outcome(dict.fromkeys(self.rewards), {}) for _ in batch]
        for name, reward in self.rewards.items():
            for prepared, outcome in zip(batch, outcomes, strict=True):
                problem = _problem(reward, prepared)
                if problem is not None:
                    _check_going_on(name, problem)
                    outcome.errors[name] = problem
        spread_to_groups(batch, outcomes, self._groups)

        before = dict(self._fitting)
        todo = deque(sub_batches(batch, outcomes, self.rewards))
        while todo:
            sub_batch = todo.popleft()
            smaller = pieces(sub_batch, self._most(sub_batch, batch_size), self.rewards)
            # What failed is tried again only here, where no frame of its failure is left.
            again = smaller if len(smaller) > 1 else self._try(batch, outcomes, sub_batch)
            todo.extendleft(reversed(again))
        for extractor, size in self._fitting.items():
            if size != (was := before.get(extractor, batch_size)):
                names = [n for n, r in self.rewards.items() if r.extractor is extractor]
                _log.warning(
                    f"out of memory: from here on {' and '.join(names)} "
                    f"{'score' if len(names) > 1 else 'scores'} {size} samples at once, not {was}"
                )
        return outcomes

    def _most(self, sub_batch: SubBatch, batch_size: int) -> int:
        """How many samples of a sub-batch may be scored at once."""
        rewards = [self.rewards[name] for name in sub_batch.names]
        limits = [r.card.batch_size for r in rewards] + [self._fitting.get(rewards[0].extractor)]
        return min(limit for limit in (batch_size, *limits) if limit is not None)

    def _try(
        self, batch: Sequence[Prepared], outcomes: Sequence[Outcome], sub_batch: SubBatch
    ) -> list[SubBatch]:
        """Score a sub-batch, write down scores or errors, and return what is to be tried again."""
        import torch

        extractor = self.rewards[sub_batch.names[0]].extractor
        together = Together([batch[index] for index in sub_batch.indices], extractor)
        own = [outcomes[index] for index in sub_batch.indices]
        again: list[SubBatch] = []
        for place, name in enumerate(sub_batch.names):
            with torch.inference_mode():
                error = attempt(self.rewards[name], together, own)
            if error is None:
                continue
            _check_going_on(name, error)
            divisible = len(own) > 1 and name not in self._groups
            if is_memory(error):
                release(error)
                if divisible:
                    self._fitting[extractor] = len(own) // 2
                    rest = SubBatch(sub_batch.indices, sub_batch.names[place:])
                    return [*again, *pieces(rest, len(own) // 2, self.rewards)]
            # One by one the culprits show; that a reward returns as many scores as it is given
            # samples would only be hidden by it.
            elif divisible and not isinstance(error, BrokenReward):
                again += [SubBatch((index,), (name,)) for index in sub_batch.indices]
                continue
            cause = error.cause if isinstance(error, ScoringError) else error
            for outcome in own:
                outcome.errors[name] = cause
        return again


def _problem(reward: Reward, prepared: Prepared) -> Exception | None:
    """What keeps a sample from this reward; None where nothing does."""
    if prepared.sample is None or prepared.kind is None:
        return prepared.problem
    card, sample = reward.card, prepared.sample
    half = prepared.halves.get(reward.extractor)
    return (
        wrong_kind(card, prepared.kind)
        or missing(card, sample.prompt, sample.meta, prepared.references)
        or (half if isinstance(half, Exception) else None)
    )


def _check_going_on(name: str, error: Exception) -> None:
    """Stop the run for an error that every sample after this one would meet too."""
    reason = stop_reason(error)
    if reason is not None:
        raise RewardUnavailable(f"{name} cannot go on: {reason}") from error
