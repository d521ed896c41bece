"""Clips: all in which a policy of them differs from one of pictures."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any

from grpo.policies.flow import Flow
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.references import reference_files
from rewardkit.media.images import open_rgb

if TYPE_CHECKING:
    from PIL import Image

    from rewardkit.media.prompts import PromptLine


class Video(Flow, ABC):
    """A policy whose samples are the latents of clips, [B, C, F, h, w]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the noise that is drawn for a sample."""
        protocol, pipe, network = self.protocol, self._pipe, self.network
        settings: Any = network.config
        assert protocol.frames is not None  # `check_protocol` asks for it
        return (
            settings.out_channels,  # what it is given may have more, such as those of a first frame
            (protocol.frames - 1) // pipe.vae_scale_factor_temporal + 1,
            protocol.height // pipe.vae_scale_factor_spatial,
            protocol.width // pipe.vae_scale_factor_spatial,
        )

    def _picture(self, line: PromptLine) -> Image.Image:
        """The first frame that a line names."""
        (files,) = reference_files([line], FAMILIES[type(self._pipe).__name__])
        return open_rgb(files["first_frame"])
