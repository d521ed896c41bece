"""Guidance: predictions without and with the prompt become one. Pure functions of tensors.

Guidance that a distilled network is given as a number (FLUX.1-dev) needs none of them: it is an
input of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def classifier_free(
    unconditional: Tensor | None, conditional: Tensor, scale: float, *, detach_uncond: bool = False
) -> Tensor:
    """Classifier-free guidance, unconditional + scale (conditional - unconditional).

    Args:
        unconditional: the prediction without the prompt, [B, ...]; None where guidance is off.
        conditional: the prediction with the prompt, [B, ...].
        scale: 1 is the prediction with the prompt alone.
        detach_uncond: whether the prediction without the prompt gets no gradient.

    Source: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598, with w + 1 for the scale.
    """
    if unconditional is None:
        return conditional
    if detach_uncond:
        unconditional = unconditional.detach()
    return unconditional.lerp(conditional, scale)


def rescaled(
    unconditional: Tensor | None, conditional: Tensor, scale: float, *, detach_uncond: bool = False
) -> Tensor:
    """`classifier_free`, with the norm that each token has in the prediction with the prompt.

    Args:
        unconditional: the prediction without the prompt, [B, L, D]; None where guidance is off.
        conditional: the prediction with the prompt, [B, L, D].
        scale: as for `classifier_free`.
        detach_uncond: as for `classifier_free`.

    Source: diffusers src/diffusers/pipelines/qwenimage/pipeline_qwenimage.py: __call__.
    """
    if unconditional is None:
        return conditional
    guided = classifier_free(unconditional, conditional, scale, detach_uncond=detach_uncond)
    return guided * (conditional.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))
