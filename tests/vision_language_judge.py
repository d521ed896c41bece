"""A vision-language judge, whole: one file to copy, as it stands in `rewardkit/rewards/`.

The model reads the frames of an image or a clip and a question about the prompt; scores are read
from its next token. VQAScore (Lin et al. 2024, https://arxiv.org/abs/2404.01291) is such a
reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from rewardkit import Batch, Extractor, Loader, Reward, RewardCard, Sample, Snapshot
from rewardkit.engine.preprocess import CLIP_NORMALIZE, Resize, Steps, ToFloat, apply, split
from rewardkit.errors import InputError

# What is imported when a reward is listed must be light: torch and transformers are not.
if TYPE_CHECKING:
    import torch
    from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

# Config, tokenizer, chat template and all shards. The first download is recorded; once you have
# checked a commit, pin it: revision="...", sha256="...", as `rewardkit pull judge.yes` prints them.
FILES = Snapshot(
    name="judge.v1",
    repo="us/judge",
    patterns=("*.json", "*.jinja", "*.safetensors"),
    licence="MIT",
)
FPS = 2.0
IMAGE = "<image>"
QUESTION = 'Does this show "{}"? Answer Yes or No.'
PREPROCESS: Steps = (Resize(336, "squash", "bicubic", "pil"), ToFloat(), CLIP_NORMALIZE)


class Question(NamedTuple):
    """A sample as the model reads it: token ids `[N]`, and frames uint8 `[F, 3, 336, 336]`."""

    ids: torch.Tensor
    frames: torch.Tensor


class Judge(Extractor):
    """The tokenizer in loader threads, the network on the device: once for all its rewards."""

    def __init__(
        self,
        network: LlavaForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        loader: Loader,
    ) -> None:
        self._network, self._tokenizer = network, tokenizer
        self._device, self._dtype = loader.device, loader.dtype
        self._per_picture, self._per_batch = split(PREPROCESS)
        vision = network.config.vision_config
        self._patches = (vision.image_size // vision.patch_size) ** 2
        first = [tokenizer.encode(word, add_special_tokens=False)[0] for word in ("Yes", "No")]
        self.yes, self.no = first

    @classmethod
    def load(cls, loader: Loader) -> Self:
        """The network and its tokenizer, from one snapshot."""
        from transformers import AutoTokenizer, LlavaForConditionalGeneration

        network = loader.pretrained(LlavaForConditionalGeneration, FILES, tiny=tiny_network)
        tokenizer = loader.processor(AutoTokenizer.from_pretrained, FILES, tiny=tiny_tokenizer)
        return cls(network, tokenizer, loader)

    def prepare(self, sample: Sample) -> Question:
        """The chat template, filled, and the resized frames; runs in several threads at once."""
        import torch

        if IMAGE in (sample.prompt or ""):
            raise InputError(f"the prompt contains {IMAGE}, which stands for a frame: remove it")
        frames = torch.stack([apply(self._per_picture, f) for f in sample.frames(FPS)])
        content = IMAGE * self._patches * len(frames) + QUESTION.format(sample.prompt)
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        # Not padded here: threads cannot share a fast tokenizer whose padding they change.
        ids = self._tokenizer(text, add_special_tokens=False).input_ids
        return Question(torch.tensor(ids), frames)

    def features(self, prepared: Sequence[Question]) -> torch.Tensor:
        """The logits of the next token, float32 `[B, V]`."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        lengths = torch.tensor([len(question.ids) for question in prepared], device=self._device)
        # Padded behind the text, where no token that is read attends to.
        ids = pad_sequence([question.ids for question in prepared], batch_first=True)
        ids = ids.to(self._device)
        places = torch.arange(ids.shape[1], device=self._device)
        frames = torch.cat([question.frames for question in prepared]).to(self._device)
        hidden = self._network.model(
            input_ids=ids,
            attention_mask=(places < lengths[:, None]).long(),
            pixel_values=apply(self._per_batch, frames).to(self._dtype),
        ).last_hidden_state
        last = hidden[torch.arange(len(prepared), device=self._device), lengths - 1]
        return self._network.lm_head(last).float()


def _card(name: str, summary: str, unit: str, bounds: tuple[float | None, ...]) -> RewardCard:
    return RewardCard(
        name=name,
        summary=summary,
        inputs=("image", "video"),
        needs_prompt=True,
        fps=FPS,
        batch_size=2,
        unit=unit,
        range=bounds,
        preprocess=PREPROCESS,
        weights=(FILES,),
        licence_code="MIT",
        paper="https://arxiv.org/abs/2404.01291",
        upstream="https://github.com/us/judge/blob/0123abc/judge.py",
        trained_on=("which data its makers name",),
        notes=("A prompt is asked about as it is, without correcting its grammar.",),
    )


CARDS = (
    _card("judge.yes", "The model says that the prompt is shown.", "probability", (0.0, 1.0)),
    _card("judge.margin", "The model prefers Yes to No.", "difference of logits", (None, None)),
)


# Where it is to be found by its names: @register(*CARDS, default="judge.yes")
class JudgeReward(Reward):
    """A number read from the next token of the judge."""

    def __init__(self, card: RewardCard, judge: Judge) -> None:
        self.card, self.extractor = card, judge

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> JudgeReward:
        """Loads the judge, or takes the one that another of these rewards has loaded."""
        return cls(card, loader.shared(FILES, lambda: Judge.load(loader)))

    def score(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """The logit of Yes minus that of No, or P(Yes) of the two; float32 `[B]`."""
        margin = features[:, self.extractor.yes] - features[:, self.extractor.no]
        return margin.sigmoid() if self.card.name == "judge.yes" else margin


def tiny_network() -> LlavaForConditionalGeneration:
    """The same class with few narrow layers and the same input size, for tests."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    tokenizer = tiny_tokenizer()
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=336, patch_size=168, **sizes),
        text_config=LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, **sizes),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
    )
    return LlavaForConditionalGeneration(config)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, with the same special tokens and a chat template, for tests."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, additional_special_tokens=[IMAGE])
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    return tokenizer
