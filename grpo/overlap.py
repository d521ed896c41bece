"""Scoring beside sampling: while a batch of a rollout is drawn, those before it are scored.

Samples are scored in the batches, and in the order, in which they would be scored afterwards, so
scores are the same to the bit. It happens where the rewards have a device of their own, which would
wait otherwise; on one device, both would only take turns, and its memory would hold both at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, final, overload

from torch import Tensor

from grpo.policies.policy import Policy
from grpo.rewards import Rewards
from grpo.rollout import Rollout
from rewardkit.devices import same_device
from rewardkit.media.batch import Medium
from rewardkit.media.prompts import PromptLine


def beside(rewards: Rewards, policy: Policy) -> bool:
    """Whether rewards are computed while the policy samples."""
    # Several processes send each other what they score, all at the same place of the loop.
    return policy.world.size == 1 and not same_device(rewards.device, policy.device)


@final
class Scoring:
    """The scores of a rollout, which may begin while it is drawn.

    Leaving the context without the scores gives them up, after the batch that is being scored; an
    interrupt does not wait for that batch.

    Args:
        rewards: compute them.
        policy: draws the samples.
        lines: [P], the prompts.
        group: G, the number of samples of each.
    """

    def __init__(
        self, rewards: Rewards, policy: Policy, lines: Sequence[PromptLine], group: int
    ) -> None:
        self._rewards, self._lines, self._group = rewards, lines, group
        self._media = _Arriving(len(lines) * group)
        # A daemon, unlike those of an executor: the process does not wait for it at its end.
        self._thread = (
            threading.Thread(target=self._score, name="scoring", daemon=True)
            if beside(rewards, policy)
            else None
        )
        self._scores: Future[dict[str, Tensor]] = Future()

    def __enter__(self) -> Self:
        """Begins, where scores are computed beside sampling."""
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends."""
        if self._thread is not None:
            self._media.close()
            if kind is None or not issubclass(kind, KeyboardInterrupt):
                self._thread.join()

    def add(self, first: int, media: Sequence[Medium | None]) -> None:
        """Takes samples that are drawn.

        Args:
            first: the place of the first of them in the rollout.
            media: the samples.

        Raises:
            ScoringError: one that was drawn before has no score.
        """
        if self._thread is not None:
            self._media.put(first, media)
            if self._scores.done():
                self._scores.result()

    def of(self, rollout: Rollout) -> dict[str, Tensor]:
        """The scores of the whole rollout, as `Rewards` returns them."""
        if self._thread is not None:
            return self._scores.result()
        return self._rewards(rollout.media, self._lines, self._group, rollout.shares)

    def _score(self) -> None:
        try:
            scores = self._rewards(self._media, self._lines, self._group)
        except BaseException as error:
            self._scores.set_exception(error)
        else:
            self._scores.set_result(scores)


@final
class _Arriving(Sequence[Any]):
    """Media that are still being made: reading one waits until it is there."""

    def __init__(self, number: int) -> None:
        self._media: list[Medium | None] = [None] * number
        self._changed = threading.Condition()
        self._closed = False

    def put(self, first: int, media: Sequence[Medium | None]) -> None:
        with self._changed:
            self._media[first : first + len(media)] = media
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._media)

    @overload
    def __getitem__(self, index: int) -> Medium: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._media[index] is not None)
            if self._closed:
                raise RuntimeError("sampling has ended early")
            return self._media[index]
