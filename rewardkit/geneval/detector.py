"""What GenEval's detector finds in pictures: boxes and masks by class.

    picture -> pixels -> network -> postprocess -> {class: rows}, {class: masks}

One network of two sources: upstream's own weights, converted from mmdet, and Meta's of the same
architecture, whose scores differ at GenEval's thresholds and which therefore have another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardkit.engine.extractor import Extractor
from rewardkit.errors import WeightsError
from rewardkit.geneval.convert import CONVERTED, check_converted
from rewardkit.geneval.names import CLASSES
from rewardkit.geneval.pixels import SCALE, normalise, resize
from rewardkit.geneval.postprocess import objects
from rewardkit.geneval.rules import THRESHOLD, Boxes
from rewardkit.media.batch import Sample
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.loader import Loader

META = PinnedFile(
    name="geneval-hf.detector",
    repo="facebook/mask2former-swin-small-coco-instance",
    files=("model.safetensors", "pytorch_model.bin"),
    licence="other (of the model's card on the hub)",
)
# Batch size of rewards with the detector: the network needs about 0.8 GB per 800x800 image.
BATCH_SIZE = 8
_TINY_SCALE = (160, 96)


@dataclass(frozen=True)
class Resized:
    """A picture, uint8 `[3, H, W]`, and the same at the size the network sees it in."""

    picture: torch.Tensor
    resized: torch.Tensor


@dataclass(frozen=True)
class Detections:
    """What a picture shows. Only classes of which there is something are named.

    Attributes:
        picture: uint8 `[3, H, W]`, on the CPU.
        boxes: of each class `(x1, y1, x2, y2, score)`, float32 `[n, 5]`: every one that can be
            above GenEval's lowest threshold, and some that are not.
        masks: of each class bool `[n, H, W]`, in the same order, on the CPU.
    """

    picture: torch.Tensor
    boxes: dict[str, Boxes]
    masks: dict[str, torch.Tensor]


class ObjectDetector(Extractor):
    """Mask2Former, always in float32, because its thresholds are sharp.

    Args:
        network: transformers' `Mask2FormerForUniversalSegmentation` of COCO's classes.
        device: it runs on.
        scale: the longest and the shortest side of its input.
    """

    def __init__(self, network: Any, device: torch.device, scale: tuple[int, int] = SCALE) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self._device = device
        self._scale = scale

    @classmethod
    def load(cls, weights: PinnedFile, loader: Loader) -> ObjectDetector:
        """The detector of `CONVERTED` or `META` weights, that has seen its self-test picture.

        Raises:
            WeightsError: they cannot be had, are others, do not fit, or see nothing.
        """
        from rewardkit.geneval import network

        if loader.tiny:
            return cls(loader.module(_tiny, weights), loader.device, _TINY_SCALE)
        path = loader.file(weights)
        if weights == CONVERTED:
            check_converted(path)
        detector = cls(loader.keep(network.read(path, network.config())), loader.device)
        detector.check_sight()
        return detector

    def prepare(self, sample: Sample) -> Resized:
        """The picture, resized.

        Raises:
            InputError: it is too thin.
        """
        picture = sample.picture.cpu()
        return Resized(picture, resize(picture, self._scale))

    def features(self, prepared: Sequence[Resized]) -> list[Detections]:
        """What each picture shows; pictures of one size go through the network together."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for index, half in enumerate(prepared):
            alike.setdefault(tuple(half.resized.shape), []).append(index)
        found: dict[int, Detections] = {}
        for indices in alike.values():
            found |= zip(indices, self._detect([prepared[i] for i in indices]), strict=True)
        return [found[index] for index in range(len(prepared))]

    def check_sight(self) -> None:
        """Looks at a photograph of which it is known what it shows, before anything is scored.

        It is a portrait of Grace Hopper, in the public domain (US Navy, 1984): a person, who fills
        most of it. This catches what makes a detector blind: other weights, tensors in the wrong
        place, a device that computes nonsense. It does not catch small errors.

        Raises:
            WeightsError: no person is seen there.
        """
        from rewardkit.media.images import read_image

        data = resources.files("rewardkit.geneval").joinpath("portrait.jpg").read_bytes()
        picture = read_image(data)
        (found,) = self.features([self.prepare(Sample(picture))])
        people = found.boxes.get("person", np.zeros((0, 5), np.float32))
        areas = (people[:, 2] - people[:, 0]) * (people[:, 3] - people[:, 1])
        filling = areas > picture[0].numel() / 2
        if not (people[filling, 4] > THRESHOLD).any():
            seen = [(float(rows[:, 4].max()), name) for name, rows in found.boxes.items()]
            best = "at best a {1}, with {0:.2f}".format(*max(seen)) if seen else "nothing at all"
            raise WeightsError(
                f"GenEval's detector is blind: in a portrait it finds no person of that size, but "
                f"{best}. Its weights are not those of a trained Mask2Former (convert or download "
                f"them again), or torch computes wrongly on {self._device} (try another device)"
            )

    def _detect(self, alike: Sequence[Resized]) -> list[Detections]:
        """What pictures of one size show; in full precision also inside autocast."""
        import torch

        pixels = normalise(torch.stack([half.resized for half in alike]).to(self._device))
        with torch.autocast(self._device.type, enabled=False):
            seen = self.network(pixel_values=pixels)
            return [
                _by_class(picture, class_logits, mask_logits, pixels)
                for picture, class_logits, mask_logits in zip(
                    alike, seen.class_queries_logits, seen.masks_queries_logits, strict=True
                )
            ]


def _by_class(
    picture: Resized, class_logits: torch.Tensor, mask_logits: torch.Tensor, pixels: torch.Tensor
) -> Detections:
    """The objects of one picture by class."""
    resized, filled, size = (
        (x.shape[-2], x.shape[-1]) for x in (picture.resized, pixels, picture.picture)
    )
    found = objects(class_logits, mask_logits, resized, filled, size)
    labels, rows, masks = found.labels.cpu(), found.rows.cpu(), found.masks.cpu()
    of_class = {CLASSES[label]: labels == label for label in sorted(set(labels.tolist()))}
    return Detections(
        picture=picture.picture,
        boxes={name: rows[which].numpy() for name, which in of_class.items()},
        masks={name: masks[which] for name, which in of_class.items()},
    )


def _tiny() -> Any:
    from rewardkit.geneval import network

    built = network.build(network.tiny())
    # Random logits are nearly equal; a detector is sure of what it sees.
    built.class_predictor.weight.data *= 100
    masks = built.model.transformer_module.decoder.mask_predictor.mask_embedder
    masks.get_submodule("2.0").weight.data *= 30
    return built
