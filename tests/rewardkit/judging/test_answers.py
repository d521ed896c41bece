"""An answer is the score that it states, or an error that shows it; never another number."""

import math

import pytest
import torch

from rewardkit.errors import InputError
from rewardkit.judging.completion import Completion, JudgeError
from rewardkit.judging.reading import PACKAGED, read_template
from rewardkit.media.batch import Clip, Sample

PICTURE = torch.zeros(3, 4, 4, dtype=torch.uint8)
SAMPLE = Sample(PICTURE, "a cat", {"points": ["it is black", "it sits", "it is one cat"]})
YES, SCORES, POINTS, RUBRIC = (
    read_template(PACKAGED / f"{name}.toml") for name in ("yes", "scores", "points", "rubric")
)


def words(*likely, text="Yes"):
    top = [{"token": token, "logprob": logprob} for token, logprob in likely]
    choice = {"message": {"content": text}, "finish_reason": "length"}
    return Completion.of(
        {"choices": [{**choice, "logprobs": {"content": [{"top_logprobs": top}]}}]}
    )


def text(said, reason="stop"):
    return Completion.of({"choices": [{"message": {"content": said}, "finish_reason": reason}]})


def test_the_probability_of_a_word_is_that_of_its_spellings_each_counted_once():
    answer = words(
        *[("Yes", math.log(0.5)), (" yes", math.log(0.125)), ("No", math.log(0.25))],
        *[("Yes", math.log(0.5)), ("Yesterday", math.log(0.0625)), ("-", -9999.0)],
    )
    assert YES.parse(answer, SAMPLE) == pytest.approx(0.625, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            words(("No", math.log(0.75)), ("Maybe", math.log(0.125)), text="No"),
            r"'No', 'Maybe', .*add up to 0\.8750, .* at most 0\.125, .*returned 'No'",
        ),
        (words(text="Yes"), "no log-probabilities"),
        (text("Yes"), "no log-probabilities"),
        (words(("Yes", 0.0), ("No", 0.0)), "add up to 2"),
        (words(("Yes", math.nan)), "add up to nan"),
    ],
)
def test_a_word_without_a_probability_is_an_error(answer, reason):
    with pytest.raises(JudgeError, match=reason):
        YES.parse(answer, SAMPLE)


def named(alignment="4", coherence="3.5", style="2"):
    return f"Alignment Score: {alignment}\nCoherence Score: {coherence}\nStyle Score: {style}"


@pytest.mark.parametrize(
    "said",
    [
        named(),
        f"The cat is black, 9 of 10 people would agree.\n\n{named()}\n\nI hope this helps. 7",
        "**Alignment Score (1-5):** 4\n**Coherence Score (1-5):** 3.5\n**Style Score (1-5):** 2",
        "- alignment: 4/5, since it fits\n- coherence = 3.5 / 5\n- style: 2.",
        "Alignment: 4 out of 5\nCoherence: 3.5 points (of 5), of course\nStyle: 2 of the best",
        f"{named()}\nTo sum up: Alignment Score: 4.0",
    ],
)
def test_named_scores_are_found_in_prose(said):
    assert SCORES.parse(text(said), SAMPLE) == pytest.approx(9.5 / 3)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Alignment Score: 4\nStyle Score: 2", "no score 'Coherence'"),
        ("I would say 4, 3.5 and 2.", "no score 'Alignment'"),
        (named(alignment="X"), "no score 'Alignment'"),
        (named(alignment="4-5"), "no score 'Alignment'"),
        (named(alignment="3 to 4"), "no score 'Alignment'"),
        (named(alignment="80%"), "no score 'Alignment'"),
        (named(alignment="4/10"), "another scale"),
        (named(alignment="4 / 10"), "another scale"),
        (named(alignment="4 out of 10"), "another scale"),
        (named(alignment="4, out of 10 points"), "another scale"),
        (named(alignment="4 points (of 10)"), "another scale"),
        (named(alignment="4 out of ten"), "no score 'Alignment'"),
        (named(alignment="\n1. The cat sits"), "no score 'Alignment'"),
        ("Alignment\n: 1\nCoherence: 2\nStyle: 3", "no score 'Alignment'"),
        (named(alignment="7"), "out of the range 1 to 5"),
        (named(alignment="0"), "out of the range 1 to 5"),
        (named(alignment="-1"), "out of the range"),
        (named(alignment="9" * 400), "out of the range"),
        (f"{named()}\nAlignment Score: 5", "several values"),
        ("", "gave no answer"),
        (None, "gave no answer"),
    ],
)
def test_named_scores_that_are_not_as_asked_are_an_error_with_the_text(said, reason):
    with pytest.raises(JudgeError, match=reason) as raised:
        SCORES.parse(text(said), SAMPLE)
    assert repr(said or "")[:100] in str(raised.value)


def test_an_answer_that_was_cut_off_is_an_error_though_it_can_be_read():
    """The last number may be half of one."""
    with pytest.raises(JudgeError, match="cut off"):
        SCORES.parse(text(named(), reason="length"), SAMPLE)


@pytest.mark.parametrize(
    "said",
    [
        '{"reasoning": "black, and it sits", "score": [1, 1, 0]}',
        'Sure! {I think}\n```json\n{"reasoning": "a {b}", "score": [1, 1.0, 0]}\n```\nDone {}',
        '{"score": [1, 1, 0]} as I said: {"score": [1, 1, 0]}',
        '{"reasoning": "black,\nand it\tsits", "score": [1, 1, 0]}',
    ],
)
def test_a_list_is_found_in_prose_and_its_mean_counts(said):
    assert POINTS.parse(text(said), SAMPLE) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"score": [1, 1]}', "not a list of 3"),
        ('{"score": [1, 1, 0, 1]}', "not a list of 3"),
        ('{"score": 1}', "not a list of 3"),
        ('{"score": [1, 1, 2]}', "not a number from 0 to 1"),
        ('{"score": [1, 1, -1]}', "not a number from 0 to 1"),
        ('{"score": [1, 1, NaN]}', "not a number from 0 to 1"),
        ('{"score": [1, 1, true]}', "not a number from 0 to 1"),
        ('{"score": [1, 1, "1"]}', "not a number from 0 to 1"),
        ('{"score": [1, 1, null]}', "not a number from 0 to 1"),
        ('{"score": [1, 1, 0.5]}', "not a whole number"),
        ('{"score": [1, 1, 0]} {"score": [0, 1, 0]}', "several lists"),
        ('{"reasoning": "cut', "no JSON object"),
        ('{"score": [1, 1, 0}', "no JSON object"),
        ("[1, 1, 0]", "no JSON object"),
        ("{" * 5000, "no JSON object"),
        ('{"a":' * 5000, "no JSON object"),
    ],
)
def test_a_list_that_is_not_as_asked_is_an_error_with_the_text(said, reason):
    with pytest.raises(JudgeError, match=reason) as raised:
        POINTS.parse(text(said), SAMPLE)
    assert repr(said)[:100] in str(raised.value)


def test_one_failed_criterion_of_a_rubric_counts():
    assert RUBRIC.parse(text('{"score": [4, 9]}'), SAMPLE) == pytest.approx(6)
    assert RUBRIC.parse(text('{"score": [10, 0]}'), SAMPLE) == 0


@pytest.mark.parametrize(
    "answer",
    [{}, None, [], {"choices": []}, {"choices": [{}]}, {"choices": [{"message": {}}] * 2}],
    ids=str,
)
def test_what_is_no_completion_is_shown(answer):
    with pytest.raises(JudgeError, match="no chat completion"):
        Completion.of(answer)


def test_a_prompt_is_put_into_the_question_as_it_is():
    sample = Sample(PICTURE, 'a "{medium}" of {points}', SAMPLE.meta)
    assert 'a "{medium}" of {points}' in POINTS.question(sample)
    assert "1. it is black\n2. it sits\n3. it is one cat" in POINTS.question(sample)
    assert "Look at the image." in YES.question(sample)
    clip = Sample(Clip(PICTURE[None], 8.0), "a cat")
    assert "Look at the video." in YES.question(clip)


@pytest.mark.parametrize("points", [None, [], "it sits", [1], ["it sits", " "]], ids=str)
def test_points_that_are_no_list_of_texts_are_an_error(points):
    with pytest.raises(InputError, match="'points'"):
        POINTS.question(Sample(PICTURE, "a cat", {"points": points}))


MINE = """
form = "list"
summary = "Sharper."
points = ["sharp", "bright"]
lowest = 0
highest = 4
max_tokens = 9
text = "{points}"
"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ('form = "list"', "form is one of word, scores, list"),
        ('text = "{points}"', "text"),
        ("max_tokens = 9", "max_tokens"),
        ("highest = 4", "highest"),
    ],
)
def test_a_template_without_a_field_is_refused_by_its_name(change, reason, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(MINE.replace(change, ""))
    with pytest.raises(InputError, match=reason):
        read_template(file)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("{points}", "{points} {Prompt} {picture}", r"\{picture\} stands for nothing"),
        ("{points}", "{prompt}", r"no \{points\}"),
        ("highest = 4", "highest = 0", "lowest is below highest"),
        ("lowest = 0", "lowest = 0\nother = 1", "other"),
        ("lowest = 0", "lowest = ", "not TOML"),
        ("lowest = 0", 'lowest = -1\ncombine = "geometric mean"', "no negative numbers"),
        ("lowest = 0", "lowest = 0\nrequest = {model = 'x'}", "field model .* cannot be changed"),
        ("lowest = 0", "lowest = 0\nrequest = {top_p = inf}", "request"),
        ("lowest = 0", "lowest = 0\nrequest = {day = 2026-01-01}", "request"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused(old, new, reason, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(MINE.replace(old, new))
    with pytest.raises(InputError, match=reason):
        read_template(file)


def test_a_template_needs_what_its_text_and_form_name(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    mine = read_template(file)
    assert (mine.needs_prompt, mine.needs_meta, mine.range) == (False, (), (0, 4))
    assert (POINTS.needs_prompt, POINTS.needs_meta, POINTS.range) == (True, ("points",), (0, 1))
