"""VideoAlign: which generated clips people prefer, for image quality, motion and agreement.

Liu et al. 2025, https://arxiv.org/abs/2501.13918. A Qwen2-VL looks at frames and reads a
questionnaire that holds three tokens of its own; at each of them a linear head gives one score:

    vq  visual quality    mq  motion quality    ta  text alignment    overall  their sum

The prompt stands behind the first two tokens, and a language model reads from left to right: vq and
mq do not depend on it. All scores come from one forward.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from rewardkit.engine.card import RewardCard
from rewardkit.engine.frames import refuse_repeats
from rewardkit.engine.preprocess import CLIP_NORMALIZE, FitArea, Greyscale, Steps, ToFloat
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.errors import InputError
from rewardkit.media.batch import Batch, Sample
from rewardkit.weights.checkpoint import read_files
from rewardkit.weights.pins import Snapshot
from rewardkit.weights.videoalign import LORA_FILE, Norms, VideoAlignSettings, read_settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from rewardkit.engine.loader import Loader
    from rewardkit.engine.vision_language import LoadedJudge, VisionLanguageJudge

TOKENS = ("<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>")
FPS = 2.0
_FEWEST, _MOST = 4, 768  # frames that are looked at; 2 of a clip of 2 or 3
AREA = 200_704  # pixels of a frame, at most; 448 x 448
# Mean and standard deviation of each head, as the published checkpoint states them.
NORMS = {"VQ": (3.6757, 2.2476), "MQ": (1.1646, 1.3811), "TA": (2.8105, 2.5121)}

CHECKPOINT = Snapshot(
    name="videoalign.v1",
    repo="KwaiVGI/VideoReward",
    patterns=(
        "model_config.json",
        "checkpoint-*/model.pth",
        f"checkpoint-*/{LORA_FILE}",
        "checkpoint-*/non_lora_state_dict.pth",
    ),
    licence="Apache-2.0",
)
BASE = Snapshot(
    name="qwen2-vl-2b",
    repo="Qwen/Qwen2-VL-2B-Instruct",
    patterns=("config.json", "tokenizer.json", "tokenizer_config.json"),
    licence="Apache-2.0",
)
# Of a checkpoint that holds its LoRA alone; the published one holds everything.
BASE_WEIGHTS = Snapshot(
    name="qwen2-vl-2b.weights",
    repo=BASE.repo,
    patterns=("model*.safetensors", "model.safetensors.index.json"),
    licence=BASE.licence,
)


def preprocess(grey: bool) -> Steps:
    """Frames of about the same area, sides of whole tokens, as CLIP normalises them."""
    size = FitArea(multiple=28, low=100_352, high=AREA, backend="tensor")
    return (*((Greyscale(),) if grey else ()), size, ToFloat(), CLIP_NORMALIZE)


def frame_indices(number: int, fps: float) -> list[int]:
    """Which of a clip's frames are looked at: evenly spaced, both ends included, an even number.

    2 a second of the clip, at least 4 and at most 768, and no more than there are; the number of
    pairs is rounded half to even, as are the places.

    Args:
        number: of frames.
        fps: of the clip.

    Raises:
        InputError: the clip has a single frame.
    """
    import torch

    if number < 2:
        raise InputError(
            f"VideoAlign looks at pairs of frames: a clip needs at least 2, and this one has "
            f"{number}. Give a longer clip, or more frames of it (--frames, --fps)"
        )
    most = min(_MOST, number) // 2 * 2
    chosen = round(min(max(number / fps * FPS, _FEWEST), most) / 2) * 2
    # In float32, as upstream: in float64 a few places that lie half way round otherwise.
    places = torch.linspace(0, number - 1, chosen).round().long().tolist()
    return [int(place) for place in places]


def _look(sample: Sample) -> torch.Tensor:
    clip = sample.clip
    refuse_repeats(clip)
    rate = clip.fps if clip.stated_fps is None else clip.stated_fps
    return clip.frames[frame_indices(len(clip.frames), rate)]


def template() -> str:
    """Upstream's questionnaire, with a place for `text_prompt`."""
    return (resources.files(__package__) / "videoalign_template.txt").read_text("utf-8")


def _card(tag: str, summary: str, *notes: str) -> RewardCard:
    raw = tag.endswith("-raw")
    prompted = tag.startswith(("ta", "overall"))
    return RewardCard(
        name=f"videoalign.{tag}",
        summary=summary,
        inputs=("video",),
        needs_prompt=prompted,
        fps=FPS,
        batch_size=8,
        unit="logits" if raw else "standard deviations",
        range=(None, None),
        preprocess=preprocess(grey=tag.endswith("-grey")),
        weights=(CHECKPOINT, BASE),
        licence_code="MIT",
        paper="https://arxiv.org/abs/2501.13918",
        upstream="https://github.com/KwaiVGI/VideoAlign/blob/"
        "219ab9db64c045e5181a2202d11f686439351292/inference.py",
        trained_on=(
            "182 thousand comparisons of two of 108 thousand clips, made by 12 generators from 16 "
            "thousand prompts (VideoAlign's own)",
        ),
        notes=(
            *notes,
            *(("Upstream takes an empty prompt; here it counts as missing.",) if prompted else ()),
            *(
                ("The number of upstream's use_norm=False: the scale is arbitrary.",)
                if raw
                else (
                    "Upstream's use_norm=True: each score minus the mean, over the standard "
                    "deviation, that the checkpoint's model_config.json states; negative scores "
                    "are normal.",
                )
            ),
            "Looks at 2 frames a second, evenly spaced over the whole clip: at least 4 (2 of a "
            "clip of 2 or 3) and at most 768, an even number of them. A clip of one frame is an "
            "error.",
            "The rate of a clip from a file is the one that its container states, as upstream's "
            "decoder has it: a file of variable rate may state another than its time stamps do.",
            "Sampling a file first (--fps, --frames) changes the frames that are looked at, and "
            "the score; sampling that repeats frames is an error.",
            "A prompt that spells one of the judge's own tokens is an error.",
            "Computed with the LoRA added to its matrices, in float32 before the cast to the "
            "dtype; upstream's default is bfloat16 without adding.",
            "A checkpoint of its LoRA alone (adapter_model.safetensors) takes the other weights "
            "from Qwen/Qwen2-VL-2B-Instruct.",
        ),
    )


_BLIND = "Does not depend on the prompt, which the network reads later."
_SUM = "The sum of the three scores: TA's part needs the prompt."


@register(
    _card("vq", "The frames look better: clear, detailed, well composed, plausible.", _BLIND),
    _card("mq", "The motion is better: stable, natural, fluid, and not too little.", _BLIND),
    _card("ta", "The clip shows what its prompt says, motion and camera included."),
    _card("overall", "People prefer the clip to others of the same prompt.", _SUM),
    _card("vq-raw", "The frames look better, on the network's own scale.", _BLIND),
    _card("mq-raw", "The motion is better, on the network's own scale.", _BLIND),
    _card("ta-raw", "The clip shows what its prompt says, on the network's own scale."),
    _card(
        "overall-raw",
        "People prefer the clip, on the network's own scale.",
        _SUM,
        "Weighs the three scores otherwise than videoalign.overall: another order of clips.",
    ),
    _card(
        "mq-grey",
        "The motion is better, judged without colours.",
        _BLIND,
        "Not upstream's number: videoalign.mq of the clip in shades of grey, so that training for "
        "motion is not paid for colours. It costs a forward of its own.",
        "GenRL trains with the same, on clips that it encodes again as mp4 at 8 frames a second.",
    ),
    default="videoalign.overall",
)
class VideoAlign(Reward):
    """One of the heads, or their sum."""

    def __init__(self, card: RewardCard, judge: VisionLanguageJudge, norms: Norms) -> None:
        self.card = card
        self.extractor = judge
        dimension = card.name.partition(".")[2].partition("-")[0].upper()
        self._heads = [i for i, name in enumerate(NORMS) if dimension in (name, "OVERALL")]
        self._norms = [(0.0, 1.0) if card.name.endswith("-raw") else norms[n] for n in NORMS]

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> VideoAlign:
        """Loads the checkpoint once for all heads, and for frames in colour and in grey."""
        from rewardkit.engine.vision_language import Questionnaire, VisionLanguageJudge

        loaded, norms = loader.shared(CHECKPOINT, lambda: _load(loader))
        questions = template()

        def text(prompt: str) -> str:
            return questions.format(text_prompt=prompt)

        judge = loader.shared(
            (CHECKPOINT, card.preprocess),
            lambda: VisionLanguageJudge(
                loaded, Questionnaire("video", TOKENS, _look, text), card.preprocess
            ),
        )
        return cls(card, judge, norms)

    def score(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """The heads' numbers, normalised and added, float32 `[B]`."""
        # Each token has a head of its own: the diagonal of [B, tokens, heads].
        raw = features.diagonal(dim1=1, dim2=2)
        parts = [(raw[:, i] - self._norms[i][0]) / self._norms[i][1] for i in self._heads]
        return sum(parts[1:], parts[0])


def _load(loader: Loader) -> tuple[LoadedJudge, Norms]:
    """The network with its tokenizer, and the mean and standard deviation of each head."""
    from torch import nn

    from rewardkit.engine.vision_language import load_judge
    from rewardkit.weights.nets.qwen2_vl import merged, renamed

    def head(width: int) -> nn.Module:
        return nn.Linear(width, len(TOKENS), bias=False)

    def read(snapshot: Snapshot) -> dict[str, torch.Tensor]:
        folder = loader.folder(snapshot)
        return renamed(read_files(folder, loader.located[snapshot.name].files))

    def tensors() -> dict[str, torch.Tensor]:
        own = read(CHECKPOINT)
        if any(f.endswith(LORA_FILE) for f in loader.located[CHECKPOINT.name].files):
            own = read(BASE_WEIGHTS) | own
        return merged(own, settings.lora_scale, loader.dtype)

    settings = (
        VideoAlignSettings(NORMS, 1.0)
        if loader.tiny
        else read_settings(loader.folder(CHECKPOINT), list(NORMS), fps=FPS, area=AREA)
    )
    return load_judge(loader, BASE, TOKENS, head, tensors, template()), settings.norms
