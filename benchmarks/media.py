"""The pictures or clips of a benchmark: made by a model, or found in a folder, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from benchmarks.benchmark import Benchmark
from benchmarks.cards import Making, making
from benchmarks.layout import FileSet
from benchmarks.prompts import Case, PromptSet
from benchmarks.rows import checksum
from benchmarks.shard import WHOLE, Shard
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.media.batch import Kind
from rewardkit.media.clips import read_clip
from rewardkit.media.decoding import CLIP_SUFFIXES
from rewardkit.media.images import image_suffixes, open_rgb
from rewardkit.media.task import kind_of, noun_of
from rewardkit.media.writing import suffix_of
from rewardkit.records.provenance import sha256_text

if TYPE_CHECKING:
    from rewardkit.generators.pipelines import Pipeline
    from rewardkit.generators.protocol import Protocol

# Number of problems that are shown.
_SHOWN = 10

Key = tuple[int, int]  # index of the prompt, sample


@final
@dataclass(frozen=True)
class Checked:
    """Pictures or clips that are what they should be.

    Attributes:
        paths: by (index of the prompt, sample).
        sha256: the checksum of all of them, as results have it.
        made: how they were made; None where they were made elsewhere.
    """

    paths: Mapping[Key, Path]
    sha256: str
    made: Making | None


def make(
    benchmark: Benchmark,
    prompts: PromptSet,
    pipeline: Pipeline,
    folder: Path,
    *,
    seed: int = 0,
    protocol: Protocol | None = None,
    batch_size: int | None = None,
    shard: Shard = WHOLE,
    on_medium: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Makes the pictures or clips of a benchmark; an interrupted run continues where it stopped.

    The random seed of each belongs to (seed, prompt, sample), and only samples of one prompt are
    made together. So they are the same in any shard, to the bit on one machine.

    Args:
        benchmark: its layout names the files.
        prompts: its prompts.
        pipeline: the model.
        folder: where the files go; several shards may write into one folder.
        seed: of the whole.
        protocol: instead of the pipeline's own.
        batch_size: samples of a prompt that are made at once; None is all of them.
        shard: which prompts.
        on_medium: called with (done, total) before the first file and after each.

    Raises:
        UsageError: the model is not of the benchmark's task, the folder holds files that were made
            in another way, or they are too many.
        InputError: files were removed while others were made, or a first frame has another shape
            than the clips.
    """
    from rewardkit.generators.gallery import Planned, check_kept, check_number, claim, make_media
    from rewardkit.generators.noise import sample_seed
    from rewardkit.generators.references import check_shapes
    from rewardkit.generators.requests import Request

    if pipeline.task != benchmark.task:
        raise UsageError(
            f"{benchmark.name} is {benchmark.task}, and {pipeline.alias or pipeline.source} makes "
            f"{pipeline.task}: name a model of the benchmark's task"
        )
    protocol = protocol or pipeline.protocol
    samples = benchmark.samples
    check_number(len(shard.of(prompts.cases)), samples)
    places = ((f"{prompts.source}, prompt {c.index + 1}", c.references) for c in prompts.cases)
    check_shapes(places, protocol.height, protocol.width)
    batch = min(batch_size or samples, samples)
    # The key is older than clips; folders that are half made hold it.
    making = {
        "pictures": benchmark.media,
        "prompts": prompts.sha256,
        "samples": samples,
        "seed": seed,
        "batch": batch,
    }
    claim(folder, pipeline, protocol, making)
    batches = []
    for case in shard.of(prompts.cases):
        benchmark.layout.write_beside(folder, case)
        group = [
            Planned(
                folder / f"{benchmark.layout.place(case, sample)}{suffix_of(benchmark.task)}",
                Request(case.prompt, sample_seed(seed, case.index, sample)),
                case.references,
            )
            for sample in range(samples)
        ]
        batches += [group[i : i + batch] for i in range(0, samples, batch)]
    there = [planned.path.exists() for group in batches for planned in group]
    if not all(there):
        on_medium(sum(there), len(there))
    make_media(pipeline, batches, protocol, on_medium)
    check_kept(folder, [planned.path for group in batches for planned in group])


def check(
    benchmark: Benchmark,
    prompts: PromptSet,
    folder: Path,
    *,
    shard: Shard = WHOLE,
    allow_partial: bool = False,
    allow_duplicates: bool = False,
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Finds and opens the pictures or clips in a folder, before hours are spent on scoring them.

    Args:
        benchmark: its layout names the files.
        prompts: its prompts.
        folder: where the files are.
        shard: which prompts.
        allow_partial: accept that some are missing.
        allow_duplicates: accept equal files in several places. Files that `rewardkit` made are
            accepted in any case: the model may make the same twice.
        on_file: called with (done, total) after each file was opened.

    Raises:
        UsageError: there is no such folder.
        InputError: files are missing, damaged, equal, in the wrong place, or made for other
            prompts.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    noun = noun_of(benchmark.task)
    made = making(folder)
    if made is not None and made.prompts not in _checksums(prompts):
        raise InputError(
            f"the {noun}s in {folder} were made for other prompts than those of {benchmark.name} "
            f"({prompts.source}): give the prompts they were made for"
        )
    cases = shard.of(prompts.cases)
    found = benchmark.layout.find(
        folder,
        cases,
        benchmark.samples,
        among=prompts.cases,
        suffixes=_suffixes(kind_of(benchmark.task)),
    )
    if not found.paths:
        raise InputError(_nothing(benchmark, folder, cases, found))
    digests, damaged = _open(kind_of(benchmark.task), found.paths, folder, on_file)
    problems = [*found.problems, *damaged]
    if not allow_duplicates and made is None:
        problems += _duplicates(noun, digests, found.paths, folder)
    if problems:
        raise InputError(
            f"{folder} is not a set of {noun}s of {benchmark.name}:\n{_listed(problems)}"
        )
    if found.missing and not allow_partial:
        expected = len(cases) * benchmark.samples
        raise InputError(
            f"{len(found.missing)} of {expected} {noun}s of {benchmark.name} are missing in "
            f"{folder}:\n{_listed(found.missing)}\nMake them, or score what is there, marked as "
            "incomplete, with --allow-partial"
        )
    by_index = {case.index: case for case in cases}
    return Checked(
        paths=found.paths,
        made=made,
        sha256=checksum(
            [
                hashlib.sha256(f"{by_index[index].id(sample)} {digest}".encode()).hexdigest()
                for (index, sample), digest in digests.items()
            ]
        ),
    )


def _checksums(prompts: PromptSet) -> tuple[str, str]:
    """The checksums that cards of files made for these prompts hold.

    The first is that of `rewardkit bench`, the second that of `rewardkit generate`.
    """
    return prompts.sha256, sha256_text("\n".join(case.prompt for case in prompts.cases))


def _suffixes(kind: Kind) -> frozenset[str]:
    return CLIP_SUFFIXES if kind == "video" else image_suffixes()


def _decode(kind: Kind, path: Path, content: bytes) -> None:
    """Decodes a file, to see that it can be.

    Raises:
        InputError: it cannot.
    """
    if kind == "video":
        read_clip(path)
    else:
        open_rgb(content)


def _open(
    kind: Kind, paths: Mapping[Key, Path], folder: Path, on_file: Callable[[int, int], None]
) -> tuple[dict[Key, str], list[str]]:
    """The checksum of each file that can be decoded, and what is wrong with the others."""

    def opened(path: Path) -> tuple[str | None, str]:
        try:
            content = path.read_bytes()
            _decode(kind, path, content)
        except (OSError, InputError) as error:
            return None, f"{path.relative_to(folder)}: {describe(error)}"
        return hashlib.sha256(content).hexdigest(), ""

    digests: dict[Key, str] = {}
    damaged = []
    with ThreadPoolExecutor() as pool:
        for key, (digest, problem) in zip(paths, pool.map(opened, paths.values()), strict=True):
            if digest is None:
                damaged.append(problem)
            else:
                digests[key] = digest
            on_file(len(digests) + len(damaged), len(paths))
    return digests, damaged


def _duplicates(
    noun: str, digests: Mapping[Key, str], paths: Mapping[Key, Path], folder: Path
) -> list[str]:
    first: dict[str, Key] = {}
    problems = []
    for key, digest in digests.items():
        other = first.setdefault(digest, key)
        if other != key:
            problems.append(
                f"{paths[key].relative_to(folder)}: the same {noun} as "
                f"{paths[other].relative_to(folder)}; if the model really made one {noun} for "
                "several prompts or seeds, give --allow-duplicates"
            )
    return problems


def _nothing(benchmark: Benchmark, folder: Path, cases: Sequence[Case], found: FileSet) -> str:
    noun = noun_of(benchmark.task)
    wanted = ", ".join(benchmark.layout.place(case, 0) for case in cases[:2])
    rest = f"; it has {found.problems[0]}" if found.problems else ""
    return (
        f"{folder} has no {noun}s of {benchmark.name}, such as {wanted} with the extension of a "
        f"{noun}{rest}"
    )


def _listed(lines: Sequence[str]) -> str:
    more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([*(f"  {line}" for line in lines[:_SHOWN]), *more])
