"""Any CLIP that has no card: `clip:owner/name` on the hub, `clip:./folder` on this machine.

The checkpoint is one of open_clip (open_clip_config.json) or of transformers' `CLIPModel`
(config.json). Its card is made from these files and says so: architecture, preprocessing and
tokenizer are what they state, and no published score was compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, final

from rewardkit.engine.card import EncoderSpec
from rewardkit.engine.preprocess import (
    CLIP_NORMALIZE,
    CenterCrop,
    Normalize,
    Resize,
    Steps,
    ToFloat,
)
from rewardkit.engine.registry import register_scheme
from rewardkit.engine.reward import RewardEntry
from rewardkit.errors import UsageError, WeightsError
from rewardkit.rewards.clip import ClipReward, clip_card
from rewardkit.weights.contents import Contents
from rewardkit.weights.nets.clip_folder import OPEN_CLIP_CONFIG
from rewardkit.weights.pins import Snapshot

_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json"),
)
_INTERPOLATIONS: dict[Any, Any] = {3: "bicubic", 2: "bilinear"}  # of PIL
_LICENCE = "of its page on the hub"


@final
class ClipCheckpoint:
    """The scheme `clip:PLACE`."""

    form = "clip:owner/name"

    def check(self, place: str) -> str:
        """See `Scheme.check`."""
        from rewardkit.weights.client import can_be_repo

        if _is_folder(place):
            if not Path(place).is_dir():
                raise UsageError(f"there is no folder {place!r}, which clip:{place} names")
        elif place.count("/") != 1 or not can_be_repo(place):
            raise UsageError(
                f"clip:{place} names no CLIP checkpoint. Accepted are clip:owner/name on the hub "
                "and clip:./folder, a folder on this machine"
            )
        return place

    def entry(self, name: str, place: str) -> RewardEntry:
        """See `Scheme.entry`."""
        host: Literal["hub", "folder"] = "folder" if _is_folder(place) else "hub"
        everything = Snapshot(name=name, repo=place, host=host, patterns=("*",), licence=_LICENCE)
        contents = Contents.of(everything)
        library: Literal["open_clip", "transformers"]
        if OPEN_CLIP_CONFIG in contents.names:
            library, config = "open_clip", OPEN_CLIP_CONFIG
            files = (config, *contents.checkpoint("open_clip_model", "open_clip_pytorch_model"))
            steps = _open_clip_steps(contents)
        elif _CONFIG in contents.names:
            library, config = "transformers", _CONFIG
            weights = contents.checkpoint("model", "pytorch_model")
            files = (config, _PROCESSOR, *sorted(contents.names.intersection(_TOKENIZER)), *weights)
            steps = _transformers_steps(contents)
        else:
            raise WeightsError(
                f"{place} is no CLIP checkpoint: it has neither {OPEN_CLIP_CONFIG} nor {_CONFIG}"
            )
        chosen = {"patterns": files, "revision": contents.commit}
        encoder = EncoderSpec(
            architecture=None,
            weights=everything.model_copy(update=chosen),
            preprocess=steps,
            library=library,
        )
        card = clip_card(
            name,
            encoder,
            (),
            f"This card was made from the checkpoint's own {config}: nobody has checked its "
            "preprocessing or compared its scores with published ones.",
        )
        return RewardEntry(card, ClipReward, f"{config} of {place}")


def _is_folder(place: str) -> bool:
    return place.startswith((".", "/"))


def _open_clip_steps(contents: Contents) -> Steps:
    """The steps of open_clip's `preprocess_cfg`, with its defaults."""
    config = contents.read(OPEN_CLIP_CONFIG)
    stated = config.get("preprocess_cfg", {})
    mode = stated.get("resize_mode", "shortest")
    interpolation = stated.get("interpolation", "bicubic")
    size = config.get("model_cfg", {}).get("vision_cfg", {}).get("image_size", 224)
    if (
        mode not in ("shortest", "squash")
        or interpolation not in _INTERPOLATIONS.values()
        or not isinstance(size, int)
    ):
        raise WeightsError(
            f"{contents.repo} resizes images to {size} in a way that cannot be followed here: "
            f"{mode}, {interpolation}. Accepted: shortest or squash, bicubic or bilinear, one size"
        )
    resize = Resize(size, mode, interpolation, "pil")
    crop = (CenterCrop(size),) if mode == "shortest" else ()
    return (resize, *crop, ToFloat(), _normalize(stated.get("mean"), stated.get("std")))


def _transformers_steps(contents: Contents) -> Steps:
    """The steps of transformers' `CLIPImageProcessor`, with its defaults."""
    if _PROCESSOR not in contents.names:
        raise WeightsError(
            f"{contents.repo} has no {_PROCESSOR}, which says how images are resized. Save it "
            "with transformers' CLIPImageProcessor"
        )
    stated = contents.read(_PROCESSOR)
    size, crop = (stated.get(key, 224) for key in ("size", "crop_size"))
    side = size.get("shortest_edge") if isinstance(size, dict) else size
    cut = crop.get("height") if isinstance(crop, dict) else crop
    whole = all(stated.get(f"do_{s}", True) for s in ("resize", "center_crop", "normalize"))
    resample = _INTERPOLATIONS.get(stated.get("resample", 3))
    if not (whole and resample and isinstance(side, int) and isinstance(cut, int)):
        raise WeightsError(
            f"{_PROCESSOR} of {contents.repo} prepares images in a way that cannot be followed "
            "here. Accepted: resize of the shortest edge (bicubic or bilinear), central crop, "
            "normalisation"
        )
    return (
        Resize(side, "shortest", resample, "pil"),
        CenterCrop(cut, half_margin="down"),
        ToFloat(),
        _normalize(stated.get("image_mean"), stated.get("image_std")),
    )


def _normalize(mean: Any, std: Any) -> Normalize:
    def three(values: Any, default: tuple[float, float, float]) -> tuple[float, float, float]:
        if values is None:
            return default
        red, green, blue = (float(value) for value in values)
        return red, green, blue

    return Normalize(three(mean, CLIP_NORMALIZE.mean), three(std, CLIP_NORMALIZE.std))


register_scheme("clip", ClipCheckpoint())
