"""Which of ten colours an object has, by CLIP: GenEval's classifier.

The object is cut out: its picture inside its mask, grey outside, cropped to its box. Its colour is
the one whose three sentences with the name of its class are nearest, in their mean, to that crop.

Source: https://github.com/djghosh13/geneval, evaluation/evaluate_images.py, and by which it embeds
the sentences, clip_benchmark 1.4.0, metrics/zeroshot_classification.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import InputError
from rewardkit.geneval.names import COLOURS
from rewardkit.geneval.rules import Boxes, ColourOf

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipEncoder

TEMPLATES = (
    "a photo of a {colour} {name}",
    "a photo of a {colour}-colored {name}",
    "a photo of a {colour} object",
)
# CSS #999, what is not the object.
GREY = 153


class ColourClassifier:
    """Tells the colours of objects.

    An elongated crop loses its ends to CLIP's preprocessing. Upstream computes in half precision on
    CUDA (autocast); here the precision is the encoder's, and the last product is float32.

    Args:
        encoder: CLIP, such as `ClipEncoder.shared(VIT_L_14, loader)`.
        colours: the names to choose from; of equally near ones the first is taken.
    """

    def __init__(self, encoder: ClipEncoder, colours: Sequence[str] = COLOURS) -> None:
        self._encoder = encoder
        self._colours = tuple(colours)
        self._classifiers: dict[str, torch.Tensor] = {}

    def of(
        self, picture: torch.Tensor, boxes: Mapping[str, NDArray[Any]], masks: Mapping[str, Any]
    ) -> ColourOf:
        """What tells `rules.judge` the colours of one picture's objects.

        The crops of one question go through the encoder together.

        Args:
            picture: uint8 `[3, H, W]`, on the CPU.
            boxes: of each class the rows `[n, 5]` that `judge` is given.
            masks: of each class bool `[n, H, W]`, row by row: an array or a tensor.
        """

        def colour_of(name: str, rows: Boxes) -> list[str]:
            indices = _indices(np.asarray(boxes[name], np.float32), rows)
            crops = [crop(picture, boxes[name][i], masks[name][i]) for i in indices]
            return self.colours(name, crops)

        return colour_of

    def colours(self, name: str, crops: Sequence[torch.Tensor]) -> list[str]:
        """The colours of objects of class `name`, from their crops, uint8 `[3, h, w]` each."""
        prepared = [self._encoder.resized(cut_out) for cut_out in crops]
        cosines = self._encoder.features(prepared).image @ self.classifier(name).T
        # numpy's argmax is the first of equals; torch's may be any.
        return [self._colours[i] for i in cosines.cpu().numpy().argmax(axis=1)]

    def classifier(self, name: str) -> torch.Tensor:
        """The unit embedding of each colour of a class, float32 `[colours, D]`; kept by name."""
        from torch.nn import functional as F

        if name not in self._classifiers:
            texts = [
                template.format(colour=colour, name=name)
                for colour in self._colours
                for template in TEMPLATES
            ]
            embedded = self._encoder.encode_text(texts)
            means = embedded.view(len(self._colours), len(TEMPLATES), -1).mean(dim=1)
            self._classifiers[name] = F.normalize(means, dim=-1)
        return self._classifiers[name]


def crop(picture: torch.Tensor, box: NDArray[Any], mask: Any) -> torch.Tensor:
    """An object cut out: grey outside its mask, cropped to its box. uint8 `[3, h, w]`.

    As PIL crops: corners are rounded half to even, and what lies beyond the picture is black.

    Args:
        picture: uint8 `[3, H, W]`.
        box: `(x1, y1, x2, y2, ...)`, the last pixels exclusive.
        mask: bool `[H, W]`, an array or a tensor.

    Raises:
        InputError: the mask is of another size, or the box holds no pixel.
    """
    import torch
    from torchvision.transforms import functional as F

    inside = torch.as_tensor(mask, dtype=torch.bool, device=picture.device)
    if inside.shape != picture.shape[1:]:
        raise InputError(
            f"a mask of shape {list(inside.shape)} given for a picture of {list(picture.shape)}"
        )
    left, top, right, bottom = (round(float(edge)) for edge in box[:4])
    if right <= left or bottom <= top:
        raise InputError(f"the box {[float(edge) for edge in box[:4]]} holds no pixel")
    cut_out = torch.where(inside, picture, torch.tensor(GREY, dtype=torch.uint8))
    return F.crop(cut_out, top, left, bottom - top, right - left)


def _indices(rows: Boxes, wanted: Boxes) -> list[int]:
    """The places of the wanted rows among all rows; of equal rows the last comes first."""
    left = list(range(len(rows)))[::-1]
    found = []
    for row in wanted:
        found.append(next(i for i in left if np.array_equal(rows[i], row)))
        left.remove(found[-1])
    return found
