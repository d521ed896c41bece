"""Best of N at inference: for each prompt N samples are drawn and scored, and the best is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.engine.needs import check_lines
from rewardkit.engine.registry import entry
from rewardkit.engine.reward import GroupReward
from rewardkit.errors import UsageError
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.gallery import check_kept, claim, write_manifest
from rewardkit.generators.noise import sample_seed
from rewardkit.generators.pipelines import Pipeline, generate
from rewardkit.generators.references import check_shapes, read_references, reference_files
from rewardkit.generators.requests import Request
from rewardkit.media.task import kind_of
from rewardkit.media.writing import suffix_of, write_medium
from rewardkit.records.journal import Journal
from rewardkit.records.provenance import sha256_text
from rewardkit.records.storage import atomic_write

if TYPE_CHECKING:
    from grpo.rewards import Rewards
    from rewardkit.engine.spec import RewardSpec
    from rewardkit.media.batch import Medium
    from rewardkit.media.prompts import PromptLine

# Keeps the scores of prompts that are done; its folder's other files are those of a gallery.
_JOURNAL = "scores.journal"


def check(spec: RewardSpec) -> None:
    """Refuse rewards by which no sample can be chosen; nothing is loaded.

    Raises:
        UsageError: a reward compares the samples of a group, or several are not added up.
    """
    for name in spec.names:
        if issubclass(entry(name).cls, GroupReward):
            raise UsageError(
                f"{name} compares the samples of a group and serves training only. Choose by the "
                "reward that it compares them by"
            )
    if len(spec.terms) > 1 and not spec.has_total:
        raise UsageError(
            f"{spec} has several rewards, and not every term has a weight or a threshold, so "
            "their scores cannot be added. Give weights, as in 0.7*hps+1.4*clip"
        )


def best_of(
    pipeline: Pipeline,
    rewards: Callable[[], Rewards],
    spec: RewardSpec,
    lines: Sequence[PromptLine],
    folder: Path,
    *,
    number: int,
    seed: int = 0,
    batch_size: int = 4,
    on_prompt: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """The best of `number` samples of each prompt; the path of their manifest.

    Seeds are those of `rewardkit.generators.gallery.make_gallery`: a sample is the same whatever N
    is, and whichever is kept can be generated again. Memory holds one batch and the best so far.
    Prompts that an interrupted call has done are not sampled again.

    Args:
        pipeline: the generator.
        rewards: loads the rewards, once all else is checked.
        spec: what they are.
        lines: the prompts.
        folder: gets a file per prompt, and `manifest.jsonl`: the seed of the kept sample, its place
            among the N as `sample`, and as `scores` those of all N, by reward.
        number: N.
        seed: of the whole.
        batch_size: samples made at once.
        on_prompt: called after each prompt with how many are done, of how many.

    Raises:
        UsageError: a reward takes no such media or prompts, or the folder holds something else.
        InputError: a prompt names no usable first frame where the model starts from one.
        ScoringError: a sample has no score.
    """
    check(spec)
    family, protocol = FAMILIES[type(pipeline.diffusers).__name__], pipeline.protocol
    check_lines(spec, lines, kind_of(pipeline.task))
    files = reference_files(lines, family)
    places = (line.where for line in lines)
    check_shapes(zip(places, files, strict=True), protocol.height, protocol.width)
    prompts = sha256_text("\n".join(line.prompt for line in lines))
    details = {"best_of": number, "reward": str(spec), "prompts": prompts, "seed": seed}
    # The last bits of a sample can depend on the batch it is made in.
    header = claim(folder, pipeline, protocol, {**details, "batch": batch_size})
    scorers: list[Rewards] = []
    paths = [folder / f"{i:05d}{suffix_of(pipeline.task)}" for i in range(len(lines))]
    with Journal.open(folder / _JOURNAL, header) as journal:
        rows = journal.rows
        for i, line in enumerate(lines):
            if i < len(rows) and paths[i].exists():
                continue
            scorers = scorers or [rewards()]
            references = read_references(line, family)
            requests = [
                Request(line.prompt, sample_seed(seed, i, j), references) for j in range(number)
            ]
            kept, medium, scores = _best(pipeline, scorers[0], line, requests, batch_size)
            with atomic_write(paths[i]) as temporary:
                write_medium(medium, temporary.with_suffix(""))
            if i == len(rows):
                rows.append({"seed": requests[kept].seed, "sample": kept, "scores": scores})
                journal.append(rows[-1:])
            on_prompt(i + 1, len(lines))
    check_kept(folder, paths)
    named = [
        {"path": path.name, "prompt": line.prompt, **row}
        for path, line, row in zip(paths, lines, rows, strict=True)
    ]
    return write_manifest(folder, lines, files, named)


def _best(
    pipeline: Pipeline,
    rewards: Rewards,
    line: PromptLine,
    requests: Sequence[Request],
    batch_size: int,
) -> tuple[int, Medium, dict[str, list[float]]]:
    """The place of the best sample, the first of equal ones; the sample; and all scores."""
    best: tuple[float, int, Any] | None = None
    scores: dict[str, list[float]] = {}
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        media = list(generate(pipeline, batch, batch_size=batch_size))
        values = {name: v[0].tolist() for name, v in rewards(media, [line], len(media)).items()}
        for name, part in values.items():
            scores.setdefault(name, []).extend(part)
        for place, medium in enumerate(media):
            total = sum(rewards.weights[name] * part[place] for name, part in values.items())
            if best is None or total > best[0]:
                best = total, start + place, medium
    assert best is not None  # there is a request
    return best[1], best[2], scores
