"""Rewards in training: the scores that `rewardkit score` would give the saved pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grpo.config.fields import ScoringConfig
from grpo.shares import Shares
from rewardkit.engine.batches import cuts
from rewardkit.engine.differentiable import differentiable_scores
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.reward import GroupReward
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardTerm, parse
from rewardkit.errors import RewardKitError, ScoringError, UsageError, describe
from rewardkit.media.batch import Clip, LazySample, Medium, Sample
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
        calling = any(entry(name).card.needs_endpoint for name in self.spec.names)
        self._loader = Loader(
            self._settings.device or device,
            self._settings.dtype,
            weights,
            endpoint=self._settings.service if calling else None,
        )
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

    @property
    def device(self) -> torch.device:
        """Of the rewards' networks."""
        return self._loader.device

    def __call__(
        self,
        media: Tensor | Sequence[Medium | None],
        lines: Sequence[PromptLine],
        group: int,
        shares: Shares[Any] | None = None,
    ) -> dict[str, Tensor]:
        """Scores `[P, G]` float32 by term, before weights; the same on every process.

        Processes score a share of the batches each, those that one process would make, whole groups
        where a reward compares them; media are sent to where they are scored.

        Args:
            media: N = P G pictures, uint8 `[3, H, W]`, or clips, prompt by prompt; None where
                another process holds it.
            lines: [P], the prompts with their meta.
            group: G.
            shares: which processes hold which media; None where this process is alone.

        Raises:
            ValueError: there is not one medium for each sample.
            ScoringError: a sample has no score. It is never replaced by a number.
            RewardUnavailable: a device or service failed.
        """
        line_of_each = [line for line in lines for _ in range(group)]
        if isinstance(media, Clip) or len(media) != len(line_of_each):
            number = "one clip" if isinstance(media, Clip) else f"{len(media)} media"
            raise ValueError(f"{number} given for {len(line_of_each)} samples")

        def read(index: int) -> Sample:
            line = line_of_each[index]
            return Sample(held[index], line.prompt, line.meta)

        samples = [LazySample(partial(read, i), i // group) for i in range(len(line_of_each))]
        size, ahead = self._settings.batch_size, self._loader.ahead
        compared = any(isinstance(r, GroupReward) for r in self.scorer.rewards.values())
        batches = [range(*place) for place in cuts(samples, size, whole_groups=compared)]
        alone, shares = shares is None, shares or Shares(batches)
        scoring = shares.alike(batches)
        if alone:  # media may still be on their way, see `grpo.overlap`
            held = media
        else:
            held = shares.move(list(media), {i: ranks[:1] for i, ranks in scoring.holders.items()})
        mine = [samples[i] for i in scoring.counted]
        numbers = iter(scoring.counted)
        values = {key: torch.empty(len(samples)) for key in self._terms}
        with self.on_device():
            for scored in self.scorer.stream(mine, batch_size=size, ahead=ahead):
                for outcome, index in zip(scored, numbers, strict=False):
                    assert outcome is not None
                    for name, error in outcome.errors.items():
                        reason = f"{name} of {line_of_each[index].prompt!r}: {describe(error)}"
                        raise ScoringError(index, RewardKitError(reason)) from error
                    for key, term in self._terms.items():
                        values[key][index] = _value(term, outcome.scores[term.name])
        return {key: scoring.whole_rows(raw).view(len(lines), group) for key, raw in values.items()}

    def differentiable(self, pixels: Tensor, lines: Sequence[PromptLine]) -> dict[str, Tensor]:
        """Scores `[n]` float32 by term, before weights, with a gradient to the pixels.

        They are for losses; what is reported comes from the call. Networks stay on the device, and
        the gradient has to be computed, inside `on_device`.

        Args:
            pixels: `[n, 3, H, W]` of images, `[n, F, 3, H, W]` of clips, floats in 0..1.
            lines: [n], the prompt of each.

        Raises:
            UsageError: a reward has no gradient.
        """
        samples = [Sample(None, line.prompt, line.meta) for line in lines]
        scores = differentiable_scores(self.spec, self.scorer.rewards, pixels, samples)
        return {key: scores[term.name] for key, term in self._terms.items()}

    @contextmanager
    def on_device(self) -> Iterator[None]:
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
