"""ImageReward: what people who compare images of one prompt prefer.

Xu et al. 2023, https://arxiv.org/abs/2304.05977. A BLIP whose text encoder reads the prompt while
looking at the image, and an affine head, trained on 137 thousand comparisons by experts:

    score = (head(h) - 0.1672) / 1.0333,    h: the text encoder's first token
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rewardkit.engine.card import PublishedScore, RewardCard
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.preprocess import (
    CLIP_NORMALIZE,
    CenterCrop,
    Resize,
    ToFloat,
    apply,
    split,
)
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.errors import WeightsError
from rewardkit.media.batch import Batch, Sample
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch
    from tokenizers import BertWordPieceTokenizer

    from rewardkit.engine.loader import Loader
    from rewardkit.weights.nets.blip import BlipJudge

# Mean and standard deviation of the head's output, as upstream measured them: scores of images
# like its training data have mean 0 and variance 1.
_MEAN, _STD = 0.16717362830052426, 1.0333394966054072
_TOKENS = 35
# BLIP appends them to BERT's vocabulary. A prompt begins with neither, as BERT's does with [CLS]:
# upstream scores so. One that spells them out gets their ids.
_BLIP_TOKENS = ("[DEC]", "[ENC]")
# For tests: letters and a few endings, so that words are cut into pieces as they are by the real
# vocabulary.
TINY_VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"!&',;<>/0123456789",
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
    *("of", "photo", "word", "sample", "number", "##ing", "##er"),
)

WEIGHTS = PinnedFile(
    name="imagereward.v1",
    repo="THUDM/ImageReward",
    files=("ImageReward.pt",),
    licence="Apache-2.0",
)
VOCABULARY = PinnedFile(
    name="imagereward.vocabulary",
    repo="google-bert/bert-base-uncased",
    files=("vocab.txt",),
    revision="86b5e0934494bd15c9632b12f734a8a67f723594",
    sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    licence="Apache-2.0",
)

_UPSTREAM = "https://github.com/THUDM/ImageReward"
_COMMIT = "c1392c6dd0fd6ecd6d416c96959ab744a6d0a8fb"


def _published(picture: str, sha256: str, value: float) -> PublishedScore:
    return PublishedScore(
        picture=picture,
        sha256=sha256,
        url=f"https://raw.githubusercontent.com/THUDM/ImageReward/{_COMMIT}/assets/images/{picture}",
        prompt="a painting of an ocean with clouds and birds, day time, low depth field effect",
        value=value,
        # Upstream: the numbers "may be slightly different depending on the compute device".
        tolerance=0.02,
        source=f"{_UPSTREAM}/blob/{_COMMIT}/README.md",
    )


CARD = RewardCard(
    name="imagereward.v1",
    summary="People prefer the image to others of the same prompt.",
    inputs=("image",),
    needs_prompt=True,
    unit="standard deviations",
    range=(None, None),
    typical=(-2.0, 2.0),
    preprocess=(
        Resize(224, "shortest", "bicubic", "pil"),
        CenterCrop(224),
        ToFloat(),
        CLIP_NORMALIZE,
    ),
    weights=(WEIGHTS, VOCABULARY),
    licence_code="Apache-2.0",
    paper="https://arxiv.org/abs/2304.05977",
    upstream=f"{_UPSTREAM}/blob/{_COMMIT}/ImageReward/ImageReward.py",
    trained_on=("ImageRewardDB (images of diffusion models for prompts of DiffusionDB)",),
    published=(
        _published(
            "1.webp",
            "a5fcd126763da8b3fe2a9e620fc1ba03d215d20de36c77bf6770a540a9bc972d",
            0.5811622738838196,
        ),
        _published(
            "2.webp",
            "dc13919a49a37987d19c8be3ba0c1ef2941570f820f90fb66ac91a9a9db24082",
            0.2745276093482971,
        ),
        _published(
            "3.webp",
            "ee859bac167e6a04cbcde63454757b6fc7d9b8704429c15725ca8c4accf176e3",
            -1.4131819009780884,
        ),
        _published(
            "4.webp",
            "84faf59d59d9ca7ab298c9acb957d727365ae104768ac1a1ec55ab96be68aaf9",
            -2.029569625854492,
        ),
    ),
    notes=(
        f"Prompts longer than {_TOKENS} tokens, about 25 words, are cut; the last token stays.",
        "Typical: 98 % of scores lie there (upstream's issue 5).",
        "Images are made RGB before the resize; upstream does so after the crop, which differs "
        "for palette and transparent images only.",
        "Upstream takes an empty prompt; here it counts as missing.",
    ),
)


@register(CARD)
class ImageReward(Reward, Extractor):
    """The standardised score that BLIP gives to an image and a prompt."""

    def __init__(
        self, card: RewardCard, network: BlipJudge, vocabulary: Sequence[str], loader: Loader
    ) -> None:
        self.card = card
        self.extractor = self
        self.network = network.cast(loader.device, loader.dtype)
        self._device, self._dtype = loader.device, loader.dtype
        self._tokenizer = _tokenizer(vocabulary)
        self._per_picture, self._per_batch = split(card.preprocess)

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> ImageReward:
        """Loads the two files that the card names."""
        from rewardkit.weights.nets.blip import LARGE, BlipJudge, tiny, without_unread

        if loader.tiny:
            vocabulary: Sequence[str] = TINY_VOCABULARY
            size = tiny(len(vocabulary) + len(_BLIP_TOKENS))
        else:
            size = LARGE
            vocabulary = _read_vocabulary(loader, size.vocabulary - len(_BLIP_TOKENS))
        network = loader.module(lambda: BlipJudge(size), WEIGHTS, without_unread)
        return cls(card, network, vocabulary, loader)

    def prepare(self, sample: Sample) -> torch.Tensor:
        """The image, cropped, uint8 `[3, 224, 224]`."""
        return apply(self._per_picture, sample.picture)

    def features(self, prepared: Sequence[torch.Tensor]) -> torch.Tensor:
        """What the vision transformer sees, `[B, 197, width]`."""
        return self.network.look(self.pixels(prepared).to(self._dtype))

    def score(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """`(head(h) - mean) / std`, float32 `[B]`."""
        ids, mask = self.tokens([prompt or "" for prompt in batch.prompts])
        raw = self.network.judge(features, ids.to(self._device), mask.to(self._device))
        return (raw - _MEAN) / _STD

    def pixels(self, prepared: Sequence[torch.Tensor]) -> torch.Tensor:
        """The network's input, float32 `[B, 3, 224, 224]` on the device."""
        import torch

        return apply(self._per_batch, torch.stack(list(prepared)).to(self._device))

    def tokens(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids of prompts and the mask that is 0 on padding, both `[B, 35]`."""
        import torch

        encoded = self._tokenizer.encode_batch(list(prompts))
        return (
            torch.tensor([encoding.ids for encoding in encoded]),
            torch.tensor([encoding.attention_mask for encoding in encoded]),
        )


def _tokenizer(vocabulary: Sequence[str]) -> BertWordPieceTokenizer:
    from tokenizers import BertWordPieceTokenizer

    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = BertWordPieceTokenizer(ids, lowercase=True)
    tokenizer.add_special_tokens(list(_BLIP_TOKENS))
    tokenizer.enable_truncation(_TOKENS)
    tokenizer.enable_padding(length=_TOKENS)
    return tokenizer


def _read_vocabulary(loader: Loader, size: int) -> list[str]:
    path = loader.file(VOCABULARY)
    # Not splitlines: some tokens are characters at which that would break a line.
    tokens = path.read_text("utf-8").removesuffix("\n").split("\n")
    if len(tokens) != size:
        raise WeightsError(
            f"{path} holds {len(tokens)} tokens; ImageReward reads the vocab.txt of "
            f"{VOCABULARY.repo}, which has {size}"
        )
    return tokens
