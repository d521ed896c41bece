"""GenEval's scores from verdicts: the mean of each task, and the mean of these means.

Source: https://github.com/djghosh13/geneval, evaluation/summary_scores.py, which averages whatever
is there and does not report a missing task or image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rewardkit.errors import InputError

# Number of images that upstream generates per prompt.
PER_PROMPT = 4


@dataclass(frozen=True)
class JudgedImage:
    """The verdict on one image.

    Attributes:
        tag: the task of the prompt.
        prompt: identifies the prompt.
        correct: whether the image shows what the prompt asks for.
    """

    tag: str
    prompt: str
    correct: bool


@dataclass(frozen=True)
class GenEvalScores:
    """GenEval's scores, each a share in [0, 1].

    Attributes:
        overall: the unweighted mean of `tags`, which is GenEval's score.
        tags: share of correct images of each task.
        pictures: share of correct images overall.
        prompts: share of prompts with at least one correct image.
    """

    overall: float
    tags: Mapping[str, float]
    pictures: float
    prompts: float


def summarize(
    judged: Iterable[JudgedImage],
    expected: Mapping[str, str],
    per_prompt: int = PER_PROMPT,
    *,
    partial: bool = False,
) -> GenEvalScores:
    """The scores of a set of images.

    Args:
        judged: one verdict per image.
        expected: the task of every prompt of the benchmark; the scores of tasks are in its order.
        per_prompt: number of images per prompt.
        partial: average the images that are there and omit tasks without any; the numbers are then
            not GenEval scores.

    Raises:
        InputError: an image has an unknown prompt or the wrong task, a prompt has too many images,
            an image is missing and `partial` is False, or there are no verdicts.
    """
    judged = list(judged)
    if not judged:
        raise InputError("no verdicts were given: there is nothing to average")
    for verdict in judged:
        known = expected.get(verdict.prompt)
        if known != verdict.tag:
            reason = f"is of task {known!r}" if known else "is not a prompt of the benchmark"
            raise InputError(
                f"an image has task {verdict.tag!r} and prompt {verdict.prompt!r}, which {reason}"
            )
    counts = Counter(verdict.prompt for verdict in judged)
    crowded = [prompt for prompt, n in counts.items() if n > per_prompt]
    if crowded:
        raise InputError(f"there are more than {per_prompt} images of {_some(crowded)}")
    if not partial:
        _check_complete(counts, expected, per_prompt)
    by_tag: dict[str, list[bool]] = {tag: [] for tag in expected.values()}
    by_prompt: dict[str, list[bool]] = {}
    for verdict in judged:
        by_tag[verdict.tag].append(verdict.correct)
        by_prompt.setdefault(verdict.prompt, []).append(verdict.correct)
    tags = {tag: _mean(correct) for tag, correct in by_tag.items() if correct}
    return GenEvalScores(
        overall=sum(tags.values()) / len(tags),
        tags=tags,
        pictures=_mean([verdict.correct for verdict in judged]),
        prompts=_mean([any(correct) for correct in by_prompt.values()]),
    )


def _check_complete(counts: Counter[str], expected: Mapping[str, str], per_prompt: int) -> None:
    short = [prompt for prompt in expected if counts[prompt] < per_prompt]
    if not short:
        return
    there = {expected[prompt] for prompt in counts}
    absent = [tag for tag in dict.fromkeys(expected.values()) if tag not in there]
    whole = f" There are no images of {', '.join(absent)}." if absent else ""
    missing = len(expected) * per_prompt - counts.total()
    raise InputError(
        f"{missing} of {len(expected) * per_prompt} images are missing ({per_prompt} for each of "
        f"{len(expected)} prompts are expected), of {_some(short)}.{whole} Without them the scores "
        "are not GenEval's; pass partial=True to average the images that are there"
    )


def _some(prompts: Sequence[str]) -> str:
    more = f" and {len(prompts) - 3} more" if len(prompts) > 3 else ""
    return ", ".join(map(repr, prompts[:3])) + more


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
