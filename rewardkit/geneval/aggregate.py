"""From verdicts to GenEval's scores: the mean of each task, and the mean of those.

Source: https://github.com/djghosh13/geneval, evaluation/summary_scores.py, which takes the mean of
whatever is there: a task or a picture that is missing is told by nothing but the number it changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rewardkit.errors import InputError

# Pictures that upstream draws of each prompt.
PER_PROMPT = 4


@dataclass(frozen=True)
class Judged:
    """The verdict on one picture.

    Attributes:
        tag: the prompt's task.
        prompt: what tells prompts apart.
        correct: whether the picture shows what the prompt asks for.
    """

    tag: str
    prompt: str
    correct: bool


@dataclass(frozen=True)
class Summary:
    """GenEval's scores, each a share in [0, 1].

    Attributes:
        overall: the unweighted mean of `tags`, GenEval's score.
        tags: of each task, the share of its pictures that are correct.
        pictures: the share of all pictures that are correct.
        prompts: the share of prompts of which any picture is correct.
    """

    overall: float
    tags: Mapping[str, float]
    pictures: float
    prompts: float


def summarize(
    judged: Iterable[Judged],
    expected: Mapping[str, str],
    per_prompt: int = PER_PROMPT,
    *,
    partial: bool = False,
) -> Summary:
    """The scores of a set of pictures.

    Args:
        judged: one per picture.
        expected: the task of every prompt of the benchmark; scores of tasks are in its order.
        per_prompt: pictures of each.
        partial: take the means of what is there, tasks without a picture left out; the numbers
            are then no GenEval scores.

    Raises:
        InputError: a picture is of no such prompt, or of another task, or one too many; or one is
            missing and `partial` is not given; or there is none.
    """
    judged = list(judged)
    if not judged:
        raise InputError("no verdicts given: there is nothing to take a mean of")
    for one in judged:
        if expected.get(one.prompt) != one.tag:
            known = expected.get(one.prompt)
            told = f"is of task {known!r}" if known else "is none of the benchmark's prompts"
            raise InputError(f"a picture of task {one.tag!r} and prompt {one.prompt!r}: it {told}")
    counts = Counter(one.prompt for one in judged)
    crowded = [prompt for prompt, n in counts.items() if n > per_prompt]
    if crowded:
        raise InputError(f"more than {per_prompt} pictures of {_some(crowded)}")
    if not partial:
        _check_complete(counts, expected, per_prompt)
    by_tag: dict[str, list[bool]] = {tag: [] for tag in expected.values()}
    by_prompt: dict[str, list[bool]] = {}
    for one in judged:
        by_tag[one.tag].append(one.correct)
        by_prompt.setdefault(one.prompt, []).append(one.correct)
    tags = {tag: _mean(correct) for tag, correct in by_tag.items() if correct}
    return Summary(
        overall=sum(tags.values()) / len(tags),
        tags=tags,
        pictures=_mean([one.correct for one in judged]),
        prompts=_mean([any(correct) for correct in by_prompt.values()]),
    )


def _check_complete(counts: Counter[str], expected: Mapping[str, str], per_prompt: int) -> None:
    short = [prompt for prompt in expected if counts[prompt] < per_prompt]
    if not short:
        return
    there = {expected[prompt] for prompt in counts}
    absent = [tag for tag in dict.fromkeys(expected.values()) if tag not in there]
    whole = f" No picture at all of {', '.join(absent)}." if absent else ""
    missing = len(expected) * per_prompt - counts.total()
    raise InputError(
        f"{missing} of {len(expected) * per_prompt} pictures are missing ({per_prompt} of each of "
        f"{len(expected)} prompts are expected), of {_some(short)}.{whole} Without them the scores "
        "are not GenEval's; ask for partial ones to see what is there"
    )


def _some(prompts: Sequence[str]) -> str:
    more = f" and {len(prompts) - 3} more" if len(prompts) > 3 else ""
    return ", ".join(map(repr, prompts[:3])) + more


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
