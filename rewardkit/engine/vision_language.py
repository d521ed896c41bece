"""Vision-language models as judges: one forward on a medium and a text, for every head.

A judge is a published network with a few tokens added to its vocabulary, at which a head reads its
hidden state. Families differ in their `Questionnaire`, their head and their checkpoint; the rest is
here. `rewardkit.rewards.videoalign` is one to copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from rewardkit.engine.extractor import Extractor
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import Steps, apply, split
from rewardkit.errors import InputError, WeightsError
from rewardkit.media.batch import Kind, Sample
from rewardkit.weights.checkpoint import load_strict
from rewardkit.weights.nets.qwen2_vl import (
    EMBEDDING,
    FRAMES,
    MERGED,
    PATCH,
    QwenJudge,
    to_patches,
)
from rewardkit.weights.nets.qwen2_vl_tiny import SPECIAL, tiny_settings, tiny_tokenizer
from rewardkit.weights.pins import Snapshot
from rewardkit.weights.pretrained import from_tensors

_PADDING = SPECIAL[0]
_PLACES = {"image": "<|image_pad|>", "video": "<|video_pad|>"}


@dataclass(frozen=True)
class FramesAndTokens:
    """What a loader thread made of a sample: resized frames, and the tokens of the whole text.

    Attributes:
        frames: uint8 `[F, 3, h, w]`, an even number of them.
        ids: of the tokens.
    """

    frames: torch.Tensor
    ids: list[int]

    @property
    def grid(self) -> tuple[int, int, int]:
        """The number of patches in time, height and width."""
        return _grid(self.frames)


@dataclass(frozen=True)
class LoadedJudge:
    """A network and its tokenizer, which extractors with different preprocessing share."""

    network: QwenJudge
    tokenizer: Tokenizer
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class Questionnaire:
    """What a judge looks at, what it reads, and where it answers.

    Attributes:
        kind: of the media it looks at.
        tokens: special tokens added to the vocabulary, in the order of their ids.
        look: an even number of frames to look at, uint8 `[F, 3, H, W]`, or a picture `[3, H, W]`.
            Raises an `InputError` where the medium has too few.
        text: what the user says after the medium, given the prompt; it holds each of the tokens
            once. The prompt is empty where a sample has none.
    """

    kind: Kind
    tokens: tuple[str, ...]
    look: Callable[[Sample], torch.Tensor]
    text: Callable[[str], str]


@final
class VisionLanguageJudge(Extractor):
    """A Qwen2-VL that looks at a medium, reads a text about it, and answers at its own tokens.

    Attributes:
        questionnaire: what it is asked.
    """

    def __init__(
        self, loaded: LoadedJudge, questionnaire: Questionnaire, preprocess: Steps
    ) -> None:
        self.questionnaire = questionnaire
        self._loaded = loaded
        self._per_medium, self._per_batch = split(preprocess)
        self._asked = [self._id(token) for token in questionnaire.tokens]

    def prepare(self, sample: Sample) -> FramesAndTokens:
        """The frames at the network's size, and the tokens of the chat.

        Raises:
            InputError: the prompt spells a token that has a meaning in the text.
        """
        asked, prompt = self.questionnaire, sample.prompt or ""
        for token in (*asked.tokens, *_PLACES.values()):
            if token in prompt:
                raise InputError(
                    f"the prompt holds {token}, which the judge reads as a part of its own text. "
                    "Remove it from the prompt"
                )
        frames = apply(self._per_medium, asked.look(sample))
        if frames.ndim == 3:  # the network sees a picture as two equal frames
            frames = frames.expand(FRAMES, -1, -1, -1)
        time, height, width = _grid(frames)
        places = _PLACES[asked.kind] * (time * height * width // MERGED**2)
        chat = (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            f"<|vision_start|>{places}<|vision_end|>{asked.text(prompt)}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        # The tokenizer of transformers changes its state on each call; this one is thread-safe.
        encoded = self._loaded.tokenizer.encode(chat, add_special_tokens=False)
        return FramesAndTokens(frames, encoded.ids)

    def features(self, prepared: Sequence[FramesAndTokens]) -> torch.Tensor:
        """What the head says at each token, float32 `[B, len(tokens), outputs]`."""
        device, dtype = self._loaded.device, self._loaded.dtype
        ids, mask = self.padded(prepared)
        patches = torch.cat([self.patches(seen) for seen in prepared])
        grids = torch.tensor([seen.grid for seen in prepared], device=device)
        kind = self.questionnaire.kind
        return self._loaded.network(
            ids.to(device), mask.to(device), patches.to(dtype), grids, kind, self._asked
        )

    def padded(self, prepared: Sequence[FramesAndTokens]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids, padded on the right, and the mask that is 0 on padding, both `[B, L]`."""
        texts = [torch.tensor(seen.ids) for seen in prepared]
        ids = pad_sequence(texts, batch_first=True, padding_value=self._id(_PADDING))
        return ids, pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)

    def patches(self, seen: FramesAndTokens) -> torch.Tensor:
        """A medium as the network's input, float32 `[N, 1176]` on the device."""
        return to_patches(apply(self._per_batch, seen.frames.to(self._loaded.device)))

    def _id(self, token: str) -> int:
        found = self._loaded.tokenizer.token_to_id(token)
        if found is None:
            raise WeightsError(
                f"the tokenizer has no {token}: it is not that of a Qwen2-VL. Download it again"
            )
        return found


def _grid(frames: torch.Tensor) -> tuple[int, int, int]:
    number, _, height, width = frames.shape
    return number // FRAMES, height // PATCH, width // PATCH


def load_judge(
    loader: Loader,
    base: Snapshot,
    tokens: Sequence[str],
    head: Callable[[int], nn.Module],
    tensors: Callable[[], Mapping[str, torch.Tensor]],
    words: str,
) -> LoadedJudge:
    """The network of a judge and its tokenizer.

    Args:
        loader: of the rewards.
        base: holds the config and the tokenizer of the network that the judge was made of.
        tokens: special tokens, which get the ids after those of `base`.
        head: makes the head for a network of that width; it is `rm_head` in the checkpoint.
        tensors: reads the checkpoint, under the names of `rewardkit.weights.nets.qwen2_vl.renamed`.
        words: a text that the vocabulary of a tiny loader's judge is made of.

    Raises:
        WeightsError: files are not there, not the recorded ones, or do not fit.
    """
    from transformers import AddedToken, AutoTokenizer, Qwen2VLConfig, Qwen2VLModel

    tokenizer = loader.processor(
        AutoTokenizer.from_pretrained, base, tiny=lambda: tiny_tokenizer(words)
    )
    if loader.tiny:
        config = Qwen2VLConfig(**tiny_settings(tokenizer.vocab_size))
    else:
        folder = loader.folder(base)
        config = loader.processor(Qwen2VLConfig.from_pretrained, base, tiny=Qwen2VLConfig)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    text = config.get_text_config()
    # Rows to spare are cut off when tokens are added, as upstream's checkpoints are.
    text.vocab_size = len(tokenizer)

    def read() -> QwenJudge:
        state = dict(tensors())
        own = {
            name.removeprefix("rm_head."): state.pop(name)
            for name in list(state)
            if name.startswith("rm_head.")
        }
        if EMBEDDING in state:
            state[EMBEDDING] = state[EMBEDDING][: len(tokenizer)]
        judge = head(text.hidden_size)
        try:
            load_strict(judge, {name: tensor.float() for name, tensor in own.items()})
        except WeightsError as error:
            raise WeightsError(f"the head of the judge cannot be loaded: {error}") from error
        return QwenJudge(from_tensors(Qwen2VLModel, config, state, loader.dtype, folder), judge)

    def tiny() -> QwenJudge:
        model: nn.Module = Qwen2VLModel(config)
        return QwenJudge(model.to(loader.dtype), head(text.hidden_size))

    network = loader.network(read, tiny)
    return LoadedJudge(network, tokenizer.backend_tokenizer, loader.device, loader.dtype)
