"""OCR: whether the image shows the text that its prompt quotes.

The text is read by PP-OCRv6 as RapidOCR runs it with its default settings. The networks come with
that package: nothing is downloaded. The default rule is Flow-GRPO's (Liu et al. 2025,
https://arxiv.org/abs/2505.05470); two stricter ones are beside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from rewardkit.engine.card import PublishedScore, RewardCard
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.errors import InputError
from rewardkit.extras import require
from rewardkit.media.batch import Batch, Sample
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.loader import Loader
    from rewardkit.engine.text_reader import TextReader

_UPSTREAM = (
    "https://github.com/yifan123/flow_grpo/blob/"
    "ac4c86e8cae021841f1fde853d340e0db67690dd/flow_grpo/ocr.py"
)
# Between kana and Chinese characters no spaces stand.
_WORDS = re.compile(r"[\u3040-\u9fff]|[^\s\u3040-\u9fff]+")
# What is removed at the ends of words; signs that are read aloud, as in 50% and R&D, are not.
_PUNCTUATION = ".,;:!?…·\"'“”‘’«»()[]{}-–—¿¡、。，；：！？（）「」『』《》"  # noqa: RUF001
_TINY_SIDE = 32


def _part(name: str, file: str, sha256: str) -> PinnedFile:
    return PinnedFile(
        name=f"ocr.{name}",
        repo="rapidocr",
        host="package",
        files=(f"models/{file}.onnx",),
        sha256=sha256,
        requirement="rapidocr==3.10.0",
        licence="Apache-2.0",
    )


NETWORKS = (
    _part(
        "detector",
        "PP-OCRv6_det_small",
        "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    ),
    _part(
        "orientation",
        "ch_ppocr_mobile_v2.0_cls_mobile",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
    ),
    _part(
        "recognizer",
        "PP-OCRv6_rec_small",
        "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    ),
)


@dataclass(frozen=True)
class TextRead:
    """What an image should show, and the lines of text that were read in it."""

    target: str
    lines: Sequence[str]


def target_text(prompt: str | None, meta: Mapping[str, Any]) -> str:
    """The text that an image should show: `text` of its line, else the first quoted in its prompt.

    Quotes are "straight" as in Flow-GRPO's prompts or, where there are none, “curly”.

    Raises:
        InputError: there is none, or it is blank.
    """
    if (text := meta.get("text")) is not None:
        if not isinstance(text, str):
            raise InputError(f"the key text of the prompt's line is a string; it is {text!r}")
        target, where = text, "the key text of the prompt's line"
    else:
        found = re.search(r'"([^"]*)"', prompt or "") or re.search(r"“([^”]*)”", prompt or "")
        if found is None:
            raise InputError(
                f"ocr needs the text that the image should show, and the prompt {prompt!r} quotes "
                'none. Quote it, as in: a sign that says "OPEN"; or give it in the key text of the '
                "prompt's line"
            )
        target, where = found[1], f"the quoted text in the prompt {prompt!r}"
    if not target.strip():
        raise InputError(f"{where} is blank: it is the text that the image should show")
    return target


def plain(text: str) -> str:
    """The text in lower case, without whitespace."""
    return "".join(text.split()).lower()


def words(text: str) -> list[str]:
    """The words between whitespace, in lower case; a Chinese or Japanese character is a word.

    Punctuation at the ends of a word is not part of it, unless the text has nothing else.
    """
    found = _WORDS.findall(text.lower())
    return [bare for word in found if (bare := word.strip(_PUNCTUATION))] or found


def similarity(read: TextRead) -> float:
    """1 - min(d, n) / n: d the edit distance to the target, n its length; 1 if it was read whole.

    Both texts are `plain`, and the lines are joined. Source: Flow-GRPO, flow_grpo/ocr.py.
    """
    from rapidfuzz.distance import Levenshtein

    target, found = plain(read.target), plain("".join(read.lines))
    if target in found:
        return 1.0
    return 1 - min(Levenshtein.distance(found, target), len(target)) / len(target)


def word_accuracy(read: TextRead) -> float:
    """The share of the target's `words` that were read, each as often as it is there, unordered."""
    wanted, found = Counter(words(read.target)), Counter(words("\n".join(read.lines)))
    return (wanted & found).total() / wanted.total()


def completion(read: TextRead) -> float:
    """1 if the target was read and nothing else, both `plain`; else 0."""
    return float(plain("".join(read.lines)) == plain(read.target))


_RULES: dict[str, Callable[[TextRead], float]] = {
    "ocr.similarity": similarity,
    "ocr.word-accuracy": word_accuracy,
    "ocr.completion": completion,
}


def _reference(file: str, sha256: str, target: str, value: float) -> PublishedScore:
    """A picture in this package; what it shows decides the score."""
    return PublishedScore(
        picture=file,
        sha256=sha256,
        url=f"package:{__package__}/{file}",
        prompt=f'a sign that says "{target}"',
        value=value,
        tolerance=1e-6,
        source=_UPSTREAM,
    )


_REFERENCES = (
    _reference(  # shows Fresh Bread
        "ocr_latin.png",
        "55bc46112beab7e7e2ed6f60632ca05b31152fc28a8dc2f1fa7f74306119a32e",
        "Fresh Bead",
        1 - 1 / 9,
    ),
    _reference(
        "ocr_chinese.png",
        "c1a7c5e9700d6333732d16029ad38c4897c02fa91a6c2ea5688d6532583ae9d8",
        "新鲜面包",
        1.0,
    ),
)


def _card(tag: str, summary: str, unit: str, *notes: str) -> RewardCard:
    return RewardCard(
        name=f"ocr.{tag}",
        summary=summary,
        inputs=("image",),
        needs_prompt=True,
        prompt_key="text",
        unit=unit,
        range=(0.0, 1.0),
        weights=NETWORKS,
        licence_code="MIT",
        paper="https://arxiv.org/abs/2505.05470",
        upstream=_UPSTREAM,
        trained_on=("PaddleOCR's images of text in 50 languages (PP-OCRv6), not published",),
        published=_REFERENCES if tag == "similarity" else (),
        notes=(
            *notes,
            'The target is the key text of the prompt\'s line, else the first text in "straight" '
            "quotes in the prompt, else in “curly” ones. A prompt without a target and an unclosed "
            "quote are errors, not zeros. An empty prompt counts as missing.",
            "Upstream reads with PaddleOCR 2.9.1 (PP-OCRv4, English) and counts an image that "
            "cannot be read as 0: its rule is followed, its readings are not these. An image "
            "without text scores 0.",
            "PP-OCRv6 small reads Chinese, Japanese and the 48 languages in Latin letters that "
            "RapidOCR lists. Letters with accents are not tested here; it has read naïve as naive. "
            "For another script give a recognizer of PP-OCR with that alphabet: "
            "--weights ocr.recognizer=FILE.onnx.",
            "It is fooled by look-alikes (l, 1 and I; O and 0), and guesses letters that are "
            "half drawn: malformed but readable text scores as well as good text. It misses "
            "handwriting, decorative letters, text along curves, and contrast under 16 levels; "
            "small text is read worse than large.",
            "Whether the text is where, and looks as, the prompt says does not count: use it "
            "beside a reward of looks. Trained on alone, images become signs.",
            "Computed in float32 by ONNX Runtime whatever the data type, in loader threads; on "
            "CUDA only where onnxruntime-gpu is installed in place of onnxruntime.",
        ),
    )


@register(
    _card(
        "similarity",
        "The text in the image is closer to the text that the prompt quotes.",
        "1 - edit distance / length",
        "Flow-GRPO's rule: lower case, whitespace removed (upstream removes spaces alone), lines "
        "joined; 1 if the target is anywhere in what was read, so that further text costs nothing "
        "as long as the target is whole.",
    ),
    _card(
        "word-accuracy",
        "More of the words that the prompt quotes are in the image.",
        "share of words",
        "Own definition: the words of the target that are among the words read, in any order and "
        "whatever else is there; case and punctuation at the ends of words do not count. A Chinese "
        "or Japanese character is a word. Words drawn, or read, without a gap are lost.",
    ),
    _card(
        "completion",
        "The image shows the text that the prompt quotes, and no other.",
        "0 or 1",
        "Own definition: stricter than ocr.similarity of 1, which forgives further text. Case and "
        "whitespace do not count.",
    ),
    default="ocr.similarity",
)
@final
class Ocr(Reward):
    """The rule that the card is named after, on the text that was read."""

    def __init__(self, card: RewardCard, extractor: OcrExtractor) -> None:
        self.card = card
        self.extractor = extractor

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads the reader once for all rules; the real networks, which are small, if tiny too."""
        return cls(card, loader.shared(NETWORKS, lambda: OcrExtractor(loader)))

    @classmethod
    def check_line(cls, prompt: str, meta: Mapping[str, Any]) -> None:
        """Refuse a line without the text that the image should show.

        Raises:
            InputError: there is none, or it is blank.
        """
        target_text(prompt, meta)

    def score(self, batch: Batch, features: Sequence[TextRead]) -> torch.Tensor:
        """The rule's numbers, float32 `[B]`."""
        import torch

        rule = _RULES[self.card.name]
        return torch.tensor([rule(read) for read in features], dtype=torch.float32)


@final
class OcrExtractor(Extractor):
    """The text in an image, and the text that it should show."""

    def __init__(self, loader: Loader) -> None:
        require("ocr", "reading text in images")
        from rewardkit.engine.text_reader import TextReader

        detector, orientation, recognizer = (loader.file(network) for network in NETWORKS)
        # A tiny loader has the same networks, on images that are not enlarged to 736 pixels.
        side = _TINY_SIDE if loader.tiny else None
        self.reader: TextReader = TextReader(detector, orientation, recognizer, loader.device, side)

    def prepare(self, sample: Sample) -> TextRead:
        """Reads the image, in a loader thread.

        Raises:
            InputError: the sample has no target, or the image is too thin to be read.
        """
        target = target_text(sample.prompt, sample.meta)
        return TextRead(target, self.reader.lines(sample.picture))

    def features(self, prepared: Sequence[TextRead]) -> Sequence[TextRead]:
        """What was read."""
        return prepared
