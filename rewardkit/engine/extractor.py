"""What rewards read: features of samples, computed once for all rewards that share an extractor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rewardkit.media.batch import Sample

if TYPE_CHECKING:
    import torch


class Extractor(ABC):
    """Turns samples into what rewards read; shared by every reward that names the same object.

    The scorer runs `prepare` in loader threads, and `features` on whole batches without gradients
    (`torch.inference_mode`).
    """

    @abstractmethod
    def prepare(self, sample: Sample) -> Any:
        """The CPU half, one sample at a time; must be thread-safe and leave the media unchanged."""

    @abstractmethod
    def features(self, prepared: Sequence[Any]) -> Any:
        """The batched half; one object that every reward of the batch reads."""


class DifferentiableExtractor(Extractor):
    """An extractor that also reads media as tensors, with a gradient to their pixels.

    Training that back-propagates through rewards needs it. Scores that are reported never come from
    it, but from `prepare` and `features`.
    """

    @abstractmethod
    def differentiable_features(self, pixels: torch.Tensor) -> Any:
        """What `features` returns of the same media, with a gradient.

        Args:
            pixels: `[B, 3, H, W]` of images, `[B, F, 3, H, W]` of clips, floats in 0..1.
        """


class RawMedia(Extractor):
    """The extractor of rewards that look at the decoded media themselves."""

    def prepare(self, sample: Sample) -> Sample:
        """The sample as it is."""
        return sample

    def features(self, prepared: Sequence[Sample]) -> Sequence[Sample]:
        """The samples of the batch, with their media."""
        return prepared
