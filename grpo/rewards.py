"""Rewards in training: the scores that `rewardkit score` would give the saved pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import resolve
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import Term, parse
from rewardkit.errors import RewardKitError, ScoringError, describe
from rewardkit.media.prompts import PromptLine


class Rewards:
    """The rewards of a spec, each by its term without the weight: `hps.v2.1`, `hps.v2.1@0.28`.

    Attributes:
        spec: with resolved names.
        weights: of each term; 1 where none is written.
        scorer: computes them.
        located: the files of weights they were loaded from.
    """

    def __init__(self, spec: str, device: str, weights: Mapping[str, str] | None = None) -> None:
        self.spec = parse(spec, resolve)
        loader = Loader(device, weights=weights)
        self.scorer = Scorer.load(self.spec, loader)
        self.located = loader.located
        bare = {term: replace(term, weight=None) for term in self.spec.terms}
        self._terms = {str(one): one for one in bare.values()}
        self.weights = {
            str(one): 1.0 if term.weight is None else term.weight for term, one in bare.items()
        }

    def __call__(
        self, media: Tensor | Sequence[Tensor], lines: Sequence[PromptLine], group: int
    ) -> dict[str, Tensor]:
        """Scores `[P, G]` float32 by term, before weights.

        Args:
            media: uint8, N = P G pictures `[3, H, W]`, prompt by prompt.
            lines: [P], the prompts with their meta.
            group: G.

        Raises:
            ScoringError: a sample has no score. It is never replaced by a number.
        """
        asked = [line for line in lines for _ in range(group)]
        outcomes = self.scorer.score(
            [self.scorer.prepare(picture) for picture in media],
            [line.prompt for line in asked],
            [line.meta for line in asked],
            [index // group for index in range(len(asked))],
        )
        for index, outcome in enumerate(outcomes):
            for name, error in outcome.errors.items():
                told = f"{name} of {asked[index].prompt!r}: {describe(error)}"
                raise ScoringError(index, RewardKitError(told)) from error
        return {
            key: torch.tensor(
                [_value(term, outcome.scores[term.name]) for outcome in outcomes]
            ).view(len(lines), group)
            for key, term in self._terms.items()
        }


def _value(term: Term, raw: float | None) -> float:
    assert raw is not None  # without an error there is a score
    return term.value(raw)
