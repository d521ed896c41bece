"""CLIP-like encoders, shared by every reward that reads their features."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch.nn import functional as F

from rewardkit.engine.card import EncoderSpec
from rewardkit.engine.extractor import DifferentiableExtractor
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import apply, split
from rewardkit.engine.straight_through import network_input
from rewardkit.media.batch import Sample
from rewardkit.weights.nets.clip_folder import read_folder, read_open_clip
from rewardkit.weights.nets.clip_layout import from_transformers
from rewardkit.weights.pins import Snapshot

# Prompts repeat (one prompt, many samples; the same list every epoch): their embeddings are kept.
# 2**15 embeddings of ViT-H-14 are 128 MB.
_TEXTS_KEPT = 2**15
_TEXTS_AT_ONCE = 256


class ClipEncoder(DifferentiableExtractor):
    """An open_clip model with its preprocessing and tokenizer.

    Attributes:
        spec: which one it is.
        dim: D, the width of its embeddings.
    """

    def __init__(self, spec: EncoderSpec, model: Any, tokenize: Any, loader: Loader) -> None:
        self.spec = spec
        self._per_picture, self._per_batch = split(spec.preprocess)
        self._model = model
        self._tokenize = tokenize
        self._device, self._dtype = loader.device, loader.dtype
        self._texts: dict[tuple[str, ...], torch.Tensor] = {}
        self.dim = int(model.text_projection.shape[1])

    @classmethod
    def shared(cls, spec: EncoderSpec, loader: Loader) -> ClipEncoder:
        """The encoder of `spec`; the same object for every reward that asks for an equal one."""
        return loader.shared(spec, lambda: cls.load(spec, loader))

    @classmethod
    def load(cls, spec: EncoderSpec, loader: Loader) -> ClipEncoder:
        """The encoder of `spec`, its weights loaded strictly."""
        import open_clip

        if spec.architecture is None:
            if isinstance(spec.weights, Snapshot):
                folder = loader.folder(spec.weights)
            else:
                folder = loader.file(spec.weights).parent
            read = read_open_clip if spec.library == "open_clip" else read_folder
            config, tokenize = read(folder)
        else:
            config = open_clip.get_model_config(spec.architecture)
            tokenize = open_clip.get_tokenizer(spec.architecture)
            if spec.library == "transformers":
                tokenize.clean_fn = _clean_as_transformers
        if loader.tiny:
            config = _shrink(config)
        # With a cast dtype open_clip keeps the layer norms in float32, as its own loading does.
        cast = None if loader.dtype == torch.float32 else loader.dtype
        model = loader.module(
            lambda: open_clip.CLIP(**config, cast_dtype=cast),
            spec.weights,
            from_transformers if spec.library == "transformers" else None,
        )
        model = model.to(loader.device)
        if cast is not None:
            open_clip.convert_weights_to_lp(model, dtype=cast)
        return cls(spec, model, tokenize, loader)

    @cached_property
    def logit_scale(self) -> float:
        """The learned temperature, `exp` of the stored parameter."""
        return float(self._model.logit_scale.float().exp())

    def prepare(self, sample: Sample) -> torch.Tensor:
        """The sample's picture at the network's input size, before the pointwise steps."""
        return self.resized(sample.picture)

    def resized(self, picture: torch.Tensor) -> torch.Tensor:
        """A picture at the network's input size, `[3, h, w]`, before the pointwise steps."""
        return apply(self._per_picture, picture)

    def features(self, prepared: Sequence[torch.Tensor]) -> ClipFeatures:
        """Features of a batch, computed when first read."""
        return ClipFeatures(self, partial(self.pixels, prepared))

    def differentiable_features(self, pixels: torch.Tensor) -> ClipFeatures:
        """Features of images, `[B, 3, H, W]` in 0..1, with a gradient to their pixels."""
        steps = self.spec.preprocess
        return ClipFeatures(self, partial(network_input, steps, pixels.to(self._device)))

    def pixels(self, prepared: Sequence[torch.Tensor]) -> torch.Tensor:
        """The network's input, float32 `[B, 3, h, w]` on the device."""
        return apply(self._per_batch, torch.stack(list(prepared)).to(self._device))

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Unit embeddings, float32 `[B, D]`, of the network's input."""
        return F.normalize(self._model.encode_image(pixels.to(self._dtype)).float(), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings, float32 `[len(texts), D]`; each distinct text is encoded once.

        Those that were encoded together before are remembered together: rounding depends on what
        shares a batch, and so a score depends neither on earlier batches nor on whether a run was
        resumed.
        """
        distinct = list(dict.fromkeys(texts))
        embedded: dict[str, torch.Tensor] = {}
        for start in range(0, len(distinct), _TEXTS_AT_ONCE):
            chunk = tuple(distinct[start : start + _TEXTS_AT_ONCE])
            if chunk not in self._texts:
                if sum(map(len, self._texts)) + len(chunk) > _TEXTS_KEPT:
                    self._texts.clear()
                tokens = self._tokenize(list(chunk)).to(self._device)
                self._texts[chunk] = F.normalize(self._model.encode_text(tokens).float(), dim=-1)
            embedded.update(zip(chunk, self._texts[chunk], strict=True))
        return torch.stack([embedded[text] for text in texts])


class ClipFeatures:
    """What a `ClipEncoder` says of one batch; each part is computed once, when first asked for."""

    def __init__(self, encoder: ClipEncoder, pixels: Callable[[], torch.Tensor]) -> None:
        self._encoder = encoder
        self._pixels = pixels  # several times as large as the pictures, so made when needed

    @cached_property
    def image(self) -> torch.Tensor:
        """Unit image embeddings, float32 `[B, D]`."""
        return self._encoder.encode_image(self._pixels())

    def text(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings of any texts, float32 `[len(texts), D]`."""
        return self._encoder.encode_text(texts)

    def cosine(self, prompts: Sequence[str | None]) -> torch.Tensor:
        """The cosine of each picture and its prompt, float32 `[B]`."""
        return (self.image * self.text([prompt or "" for prompt in prompts])).sum(dim=-1)

    @property
    def logit_scale(self) -> float:
        """The encoder's learned temperature."""
        return self._encoder.logit_scale


def _clean_as_transformers(text: str) -> str:
    """Unicode NFC, lower case, single spaces; the tokenizer itself drops those at the ends.

    open_clip, as OpenAI, also repairs the text with ftfy (curly quotes become straight, broken
    UTF-8 is mended) and resolves HTML entities: other tokens.
    """
    return " ".join(unicodedata.normalize("NFC", text).split()).lower()


def _shrink(config: dict[str, Any]) -> dict[str, Any]:
    """A config of the same architecture and input size, small enough for a test.

    A few large patches and two narrow layers. The vocabulary stays, so tokens stay; so does the
    width of the embedding, which heads are made for.
    """
    vision = dict(config["vision_cfg"])
    # Heads of 64: OpenAI's own CLIP, which tests compare with, knows no other.
    vision |= {"layers": 2, "width": 128, "head_width": 64, "patch_size": vision["image_size"] // 7}
    text = dict(config["text_cfg"]) | {"layers": 2, "width": 64, "heads": 2}
    return dict(config) | {"vision_cfg": vision, "text_cfg": text}
