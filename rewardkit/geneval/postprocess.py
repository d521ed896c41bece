"""Objects from the network's logits, computed as in mmdet's `MaskFormerFusionHead`.

Every pair of a query and a class is a candidate, so one mask may appear under several classes:

    score = p(class | query) * mean of sigmoid(mask logit) where the mask logit > 0

transformers' `post_process_instance_segmentation` differs: it computes masks from 384x384 pixels
and rounds scores.

Source: https://github.com/open-mmlab/mmdetection/blob/v2.28.2/mmdet/models/seg_heads/panoptic_fusion_heads/maskformer_fusion_head.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardkit.geneval.rules import THRESHOLD

if TYPE_CHECKING:
    import torch

# Maximum number of candidates per image, those with the highest class probability.
MAX_CANDIDATES = 100


@dataclass(frozen=True)
class Objects:
    """The n objects in one image, the highest class probability first.

    Attributes:
        labels: class indices, int64 `[n]`.
        rows: `(x1, y1, x2, y2, score)`, float32 `[n, 5]`; x2 and y2 are exclusive.
        masks: bool `[n, H, W]`.
    """

    labels: torch.Tensor
    rows: torch.Tensor
    masks: torch.Tensor


def objects(
    class_logits: torch.Tensor,
    mask_logits: torch.Tensor,
    resized: tuple[int, int],
    filled: tuple[int, int],
    size: tuple[int, int],
    lowest: float = THRESHOLD,
) -> Objects:
    """The objects of one image.

    Args:
        class_logits: logits of Q queries and K classes, `[Q, K + 1]`; the last is "no object".
        mask_logits: `[Q, h, w]`, at a quarter of the size of the network's input.
        resized: height and width of the image within the network's input.
        filled: height and width of the whole input, with padding.
        size: height and width of the original image, which boxes and masks refer to.
        lowest: candidates with a class probability of at most this are dropped before their masks
            are computed. A score never exceeds its class probability, so GenEval's rules, which
            ignore scores up to 0.3, lose nothing.
    """
    import torch
    from torch.nn import functional as F

    probabilities = class_logits.float().softmax(dim=-1)[:, :-1]
    classes = probabilities.shape[1]
    flat = probabilities.flatten()
    best, indices = flat.topk(min(MAX_CANDIDATES, len(flat)))
    indices, best = indices[best > lowest], best[best > lowest]

    # Each mask is computed once, even if it appears under several classes.
    queries, which = torch.unique(indices // classes, return_inverse=True)
    logits = mask_logits[queries, None].float()
    # Two steps, as in mmdet: to the size of the input, where padding is removed, then to `size`.
    logits = F.interpolate(logits, filled, mode="bilinear", align_corners=False)
    logits = logits[:, :, : resized[0], : resized[1]]
    logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)[:, 0]
    masks = logits > 0
    sure = (logits.sigmoid() * masks).sum((1, 2)) / (masks.sum((1, 2)) + 1e-6)
    rows = torch.cat([_boxes(masks)[which], (best * sure[which])[:, None]], dim=1)
    return Objects(labels=indices % classes, rows=rows, masks=masks[which])


def _boxes(masks: torch.Tensor) -> torch.Tensor:
    """Boxes around masks, `[n, 4]`, with exclusive ends; 0 for an empty mask."""
    import torch

    spans = []
    for lit in (masks.any(dim=1), masks.any(dim=2)):  # columns, rows
        numbers = torch.arange(1, lit.shape[1] + 1, device=masks.device) * lit
        end = numbers.amax(dim=1)
        start = torch.where(lit, numbers - 1, lit.shape[1]).amin(dim=1)
        spans.append((torch.where(end > 0, start, 0), end))
    (left, right), (top, bottom) = spans
    return torch.stack([left, top, right, bottom], dim=1).float()
