"""`ocr.*`: the text in real images, by the real networks, against the text that prompts quote."""

import os
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from made_rewards import scorer
from pictures import picture, pil, written
from rapidocr import RapidOCR
from streamed import outcomes

from grpo.rewards import Rewards
from rewardkit import score_folder
from rewardkit.engine.loader import Loader
from rewardkit.engine.needs import check_lines
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.spec import parse
from rewardkit.errors import InputError, UsageError, WeightsError
from rewardkit.media.batch import Clip
from rewardkit.media.images import read_image
from rewardkit.media.prompts import PromptLine
from rewardkit.records.provenance import sha256_file
from rewardkit.rewards import ocr
from rewardkit.rewards.ocr import Ocr, TextRead, completion, similarity, target_text, word_accuracy

RULES = {"ocr.similarity": similarity, "ocr.word-accuracy": word_accuracy}
RULES["ocr.completion"] = completion
PHOTO = "a photo of a sign"


def loaded(name, loader):
    return entry(name).cls.load(entry(name).card, loader)


@pytest.fixture(scope="module")
def tiny():
    """The real networks, on images that are not enlarged."""
    return Loader("cpu", tiny=True)


@pytest.fixture(scope="module")
def reader(tiny):
    return loaded("ocr", tiny).extractor.reader


# By hand: the target, what was read, and the three scores.
@pytest.mark.parametrize(
    ("target", "lines", "scores"),
    [
        ("Hello World", ["Hello World"], (1, 1, 1)),
        ("Hello World", ["HELLO", "world"], (1, 1, 1)),
        ("Hello World", ["Hello", "Word"], (0.9, 0.5, 0)),  # one of ten letters is missing
        ("Hello World", ["oh hello world!"], (1, 1, 0)),  # whole, but not alone
        ("Hello World", ["World Hello"], (0.2, 1, 0)),  # eight edits of ten
        ("cat", ["dog and bird and more"], (0, 0, 0)),  # never below 0
        ("cat", [], (0, 0, 0)),
        ("We're OPEN.", ["“We're", "open"], (0.8, 1, 0)),  # punctuation at ends of words
        ("!!!", ["!!!"], (1, 1, 1)),
        ("C++ 50%", ["C 50"], (0.5, 0, 0)),  # signs are part of words
        ("新鲜。", ["新鲜"], (2 / 3, 1, 0)),
        ("go go go", ["go go"], (1 - 2 / 6, 2 / 3, 0)),  # each word as often as it was read
        ("新鲜面包", ["新鲜", "面条"], (0.75, 0.75, 0)),
        ("tab\tand\nline", ["tab and", "line"], (1, 1, 1)),
    ],
)
def test_scores_of_known_errors(target, lines, scores):
    read = TextRead(target, lines)
    assert [rule(read) for rule in RULES.values()] == pytest.approx(scores)


@pytest.mark.parametrize(
    ("prompt", "meta", "target"),
    [
        ('New York with "Hello World" in fireworks', {}, "Hello World"),
        ('"A" beside "B"', {}, "A"),  # as Flow-GRPO splits
        ("a sign “OPEN”", {}, "OPEN"),
        ('“curly” and "straight"', {}, "straight"),
        ('says "no"', {"text": "yes"}, "yes"),
        (None, {"text": "yes"}, "yes"),
    ],
)
def test_the_target_is_the_text_of_the_line_or_the_first_quoted(prompt, meta, target):
    assert target_text(prompt, meta) == target


NO_TARGET = [
    ("a red cube", {}, "quotes none. Quote it"),
    ('a 6" ruler', {}, "quotes none"),
    (None, {}, "needs a prompt, or the key text of its line, and this sample has none"),
    ('an empty sign ""', {}, "is blank"),
    ('a sign " "', {}, "is blank"),
    ('a sign "A"', {"text": ""}, "the key text of the prompt's line is blank"),
    ('a sign "A"', {"text": 7}, "is a string; it is 7"),
]


@pytest.mark.parametrize(("prompt", "meta", "what"), NO_TARGET)
def test_a_prompt_without_a_target_is_an_error_and_never_a_number(tiny, prompt, meta, what):
    rewards = scorer(*(loaded(name, tiny) for name in RULES))
    good, bad = outcomes(rewards, [written("A", size=(48, 48))] * 2, ['"A"', prompt], [{}, meta])
    assert not good.errors
    assert set(bad.errors) == set(RULES) and not any(bad.scores.values())
    assert all(what in str(error) for error in bad.errors.values())


def test_training_refuses_prompts_without_a_target_before_anything_is_made():
    lines = [PromptLine("line 1", 'a "b"'), PromptLine("line 2", "a b")]
    with pytest.raises(UsageError, match=r"cannot judge 1 of 2 prompts; first line 2: ocr needs"):
        check_lines(parse("ocr", resolve), lines, "image")


def test_a_folder_without_prompts_is_refused_before_networks_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(Ocr, "load", lambda *a: pytest.fail("loaded"))
    pil(written("A", size=(48, 48))).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="needs a prompt, or the key text of its line \\(1 of 1"):
        score_folder(tmp_path, "ocr", output=tmp_path / "a.csv", device="cpu")


# Rendered text as models draw it: turned, small, faint, white on black, in lines.
VIEWS = [
    ("Grand Opening", {}),
    ("It's 24/7, really!", {}),
    ("STOP", {"turned": 12, "size": (96, 160)}),
    ("STOP", {"turned": 90, "size": (64, 160)}),
    ("STOP", {"turned": 180, "size": (64, 160)}),
    ("coffee house", {"font": 11}),
    ("low contrast", {"ink": "#e8e8e8"}),
    ("Night Train", {"ink": "white", "paper": "black"}),
]


@pytest.mark.parametrize(("text", "view"), VIEWS, ids=str)
def test_rendered_text_is_read(reader, text, view):
    assert completion(TextRead(text, reader.lines(written(text, **view))))


def test_lines_are_read_from_the_top(reader):
    assert list(reader.lines(written("first", "second", size=(96, 192)))) == ["first", "second"]


def test_what_shows_no_text_has_none(reader):
    for image in (torch.zeros(3, 64, 64), torch.full((3, 1, 1), 255), picture(3, 64, 64)):
        assert list(reader.lines(image.byte())) == []
    with pytest.raises(InputError, match="an image of 3000x2 is too thin"):
        reader.lines(torch.zeros(3, 2, 3000, dtype=torch.uint8))


def test_reading_is_thread_safe(reader):
    images = [written(f"number {i}", size=(48, 160)) for i in range(8)]
    expected = [[f"number {i}"] for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert [list(lines) for lines in pool.map(reader.lines, images)] == expected


def test_frames_of_a_clip_are_read_one_by_one(tiny):
    frames = torch.stack([written(text, size=(48, 128)) for text in ("STOP", "STEP")])
    rewards = scorer(loaded("ocr.frames", tiny))
    found = rewards([Clip(frames, 2.0)], ['"STOP"'])
    assert found["ocr.similarity-frames"].tolist() == [pytest.approx((1 + 0.75) / 2)]


def test_a_model_can_be_trained_to_write(tiny, monkeypatch):
    monkeypatch.setattr("grpo.rewards.Loader", lambda *a, **k: tiny)
    images = torch.stack([written(text, size=(48, 128)) for text in ("STOP", "STEP")])
    found = Rewards("ocr@0.9+0.5*ocr", "cpu")(images, [PromptLine("line 1", '"STOP"')], 2)
    assert {name: scores.tolist() for name, scores in found.items()} == {
        "ocr.similarity@0.9": [[1, 0]],
        "ocr.similarity": [[1, 0.75]],
    }


def test_the_pictures_of_the_package_are_those_of_the_card():
    folder = Path(str(resources.files("rewardkit.rewards")))
    for reference in entry("ocr").card.published:
        assert sha256_file(folder / reference.picture) == reference.sha256


def test_networks_of_ones_own_are_checked_on_loading(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(WeightsError, match="the networks that read text cannot be loaded"):
        ocr.OcrExtractor(Loader("cpu", tiny=True, weights={"ocr.recognizer": path}))


WORDS = [
    *("STOP", "OPEN", "Exit", "Hello", "Coffee", "Bakery", "Library", "Museum", "Airport"),
    *("Hotel", "Welcome", "Danger", "Warning", "Sale", "Pharmacy", "Restaurant", "Parking"),
    *("Entrance", "Garden", "Kitchen", "Sunday", "2026", "24/7", "50%", "R&D"),
]
SENTENCES = [
    *("Hello World", "Happy Birthday", "No Parking", "Mind the gap", "Fresh bread daily"),
    *("Grand Opening Sale", "Keep off the grass", "Wet paint", "Open 24 hours", "Made in Italy"),
    *("The quick brown fox", "jumps over the dog", "Once upon a time", "To be or not to be"),
    *("Call 555-0199", "Flight BA 117", "Gate 22, Row 9", "50% off today", "Don't panic!"),
    *("Please ring bell", "Fire exit", "Ice cream", "Quiet please", "Room 101", "I am here"),
]


@pytest.mark.slow
def test_fifty_rendered_words_and_sentences_are_read_exactly_and_as_the_library_does():
    texts = WORDS + SENTENCES
    assert len(set(texts)) == 50
    lines = ocr.OcrExtractor(Loader("cpu")).reader.lines
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda text: lines(written(text, size=(512, 512), font=48)), texts))
    wrong = [(t, f) for t, f in zip(texts, found, strict=True) if not completion(TextRead(t, f))]
    assert wrong == []
    theirs = RapidOCR(params={"Global.log_level": "critical"})
    for text in texts[::10]:
        image = written(text, size=(512, 512), font=48)
        assert theirs(np.array(pil(image))[:, :, ::-1]).txts == tuple(lines(image))


@pytest.mark.data
def test_photographs_are_read_as_the_library_does():
    folder = Path(os.environ["REWARDKIT_TEST_DATA"])
    theirs = RapidOCR(params={"Global.log_level": "critical"})
    lines = ocr.OcrExtractor(Loader("cpu")).reader.lines
    paths = [*folder.glob("clipscore/*.jpg"), *folder.glob("imagereward/*.webp")]
    assert len(paths) == 6
    for path in paths:
        image = read_image(path)
        expected = theirs(np.array(pil(image))[:, :, ::-1]).txts
        assert tuple(lines(image)) == (expected or ())
