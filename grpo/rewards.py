"""Rewards in training: the scores that `rewardkit score` would give the saved pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from grpo.config.fields import ScoringConfig
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardTerm, parse
from rewardkit.errors import RewardKitError, ScoringError, UsageError, describe
from rewardkit.media.batch import LazySample, Medium, Sample
from rewardkit.media.prompts import PromptLine


class Rewards:
    """The rewards of a spec, each by its term without the weight: `hps.v2.1`, `hps.v2.1@0.28`.

    Args:
        spec: the rewards.
        device: of their networks, where `settings` name no other.
        settings: how they are computed.

    Raises:
        UsageError: there is no such reward or device, or nowhere to offload networks from.
        WeightsError: weights cannot be had.

    Attributes:
        spec: with resolved names.
        weights: of each term; 1 where none is written.
        scorer: computes them.
        located: the files of weights they were loaded from.
    """

    def __init__(self, spec: str, device: str, settings: ScoringConfig | None = None) -> None:
        self.spec = parse(spec, resolve)
        self._settings = settings or ScoringConfig()
        # Each scorer of a run takes its own of the named files.
        own = {w.name for name in self.spec.names for w in entry(name).card.all_weights}
        weights = {
            name: Path(path)
            for name, path in self._settings.weights.items()
            if name.casefold() in own
        }
        self._loader = Loader(self._settings.device or device, self._settings.dtype, weights)
        if self._settings.offload and self._loader.device.type == "cpu":
            raise UsageError(
                "scoring.offload moves the rewards' networks to the CPU while they are not in use, "
                "but their device is the CPU already. Set scoring.offload to false"
            )
        self.scorer = Scorer.load(self.spec, self._loader)
        self._leave()
        self.located = self._loader.located
        bare = {term: replace(term, weight=None) for term in self.spec.terms}
        self._terms = {str(unweighted): unweighted for unweighted in bare.values()}
        self.weights = {
            str(unweighted): 1.0 if term.weight is None else term.weight
            for term, unweighted in bare.items()
        }

    def __call__(
        self, media: Tensor | Sequence[Medium], lines: Sequence[PromptLine], group: int
    ) -> dict[str, Tensor]:
        """Scores `[P, G]` float32 by term, before weights.

        Args:
            media: N = P G pictures, uint8 `[3, H, W]`, or clips, prompt by prompt.
            lines: [P], the prompts with their meta.
            group: G.

        Raises:
            ScoringError: a sample has no score. It is never replaced by a number.
            RewardUnavailable: a device or service failed.
        """
        line_of_each = [line for line in lines for _ in range(group)]
        samples = [
            LazySample.of(Sample(medium, line.prompt, line.meta), index // group)
            for index, (medium, line) in enumerate(zip(media, line_of_each, strict=True))
        ]
        values: dict[str, list[float]] = {key: [] for key in self._terms}
        index = 0
        with self._on_device():
            size, ahead = self._settings.batch_size, self._loader.ahead
            for scored in self.scorer.stream(samples, batch_size=size, ahead=ahead):
                for outcome in scored:
                    assert outcome is not None
                    for name, error in outcome.errors.items():
                        reason = f"{name} of {line_of_each[index].prompt!r}: {describe(error)}"
                        raise ScoringError(index, RewardKitError(reason)) from error
                    for key, term in self._terms.items():
                        values[key].append(_value(term, outcome.scores[term.name]))
                    index += 1
        return {key: torch.tensor(raw).view(len(lines), group) for key, raw in values.items()}

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """A context in which networks score; with `offload` they leave the device afterwards."""
        if self._settings.offload:
            self._loader.move(self._loader.device)
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._settings.offload:
            self._loader.move("cpu")


def _value(term: RewardTerm, raw: float | None) -> float:
    assert raw is not None  # without an error there is a score
    return term.value(raw)
