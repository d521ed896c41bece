"""The pictures of a benchmark: made by a model, or found where somebody made them, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from benchmarks.benchmark import Benchmark, Case, PromptSet
from benchmarks.layout import Found
from benchmarks.results import checksum
from benchmarks.shard import WHOLE, Shard
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.media.images import open_rgb

if TYPE_CHECKING:
    from rewardkit.models.pipelines import Pipeline
    from rewardkit.models.protocol import Protocol

# Of a long list of what is wrong, this many are told.
_TOLD = 10


@final
@dataclass(frozen=True)
class Checked:
    """Pictures that are what they should be.

    Attributes:
        paths: by (prompt's index, sample).
        missing: how many are not there.
        sha256: of all of them, as results have it.
    """

    paths: Mapping[tuple[int, int], Path]
    missing: int
    sha256: str


def make(
    benchmark: Benchmark,
    prompts: PromptSet,
    pipeline: Pipeline,
    folder: Path,
    *,
    samples: int,
    seed: int = 0,
    protocol: Protocol | None = None,
    batch_size: int | None = None,
    shard: Shard = WHOLE,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Makes the pictures of a benchmark; what an interrupted run has made stays.

    The seed of a picture belongs to (seed, prompt, sample), and only pictures of one prompt are
    made together. So a picture is the same in any shard, to the bit on one machine.

    Args:
        benchmark: whose layout they have.
        prompts: of it.
        pipeline: the model.
        folder: where they go; several shards may write into one.
        samples: of each prompt.
        seed: of the whole.
        protocol: instead of the pipeline's own.
        batch_size: pictures of a prompt made at once; None is all of them.
        shard: which prompts.
        on_picture: told after each picture: how many there are, of how many.

    Raises:
        UsageError: the folder holds pictures made in another way.
    """
    from rewardkit.models.gallery import Planned, claim, make_pictures
    from rewardkit.models.noise import picture_seed

    protocol = protocol or pipeline.protocol
    batch = min(batch_size or samples, samples)
    told = {
        "pictures": benchmark.pictures,
        "prompts": prompts.sha256,
        "samples": samples,
        "seed": seed,
        "batch": batch,
    }
    claim(folder, pipeline, protocol, told)
    batches = []
    for case in shard.of(prompts.cases):
        benchmark.layout.write_beside(folder, case)
        group = [
            Planned(
                folder / f"{benchmark.layout.place(case, sample)}.png",
                case.prompt,
                picture_seed(seed, case.index, sample),
            )
            for sample in range(samples)
        ]
        batches += [group[i : i + batch] for i in range(0, samples, batch)]
    make_pictures(pipeline, batches, protocol, on_picture)


def check(
    benchmark: Benchmark,
    prompts: PromptSet,
    folder: Path,
    *,
    samples: int,
    shard: Shard = WHOLE,
    allow_partial: bool = False,
    allow_duplicates: bool = False,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """The pictures in a folder, each of them opened: what is wrong is told before hours are spent.

    Args:
        benchmark: whose layout they have.
        prompts: of it.
        folder: where they are.
        samples: of each prompt.
        shard: whose pictures are wanted.
        allow_partial: take what is there.
        allow_duplicates: take files that are the same for several places.
        on_picture: told after each picture: how many were opened, of how many.

    Raises:
        UsageError: there is no such folder.
        InputError: pictures are missing, damaged, twice there or in the wrong place.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    cases = shard.of(prompts.cases)
    found = benchmark.layout.find(folder, cases, samples, prompts.cases)
    if not found.paths:
        raise InputError(_nothing(benchmark, folder, cases, found))
    problems = list(found.problems)
    digests, damaged = _open(found.paths, folder, on_picture)
    problems += damaged
    if not allow_duplicates:
        problems += _duplicates(digests, found.paths, folder)
    if problems:
        raise InputError(
            f"{folder} is not a set of pictures of {benchmark.name}:\n" + _listed(problems)
        )
    if found.missing and not allow_partial:
        expected = len(cases) * samples
        raise InputError(
            f"{len(found.missing)} of {expected} pictures of {benchmark.name} are missing in "
            f"{folder}:\n{_listed(found.missing)}\nMake them, or score what is there, marked as "
            "incomplete, with --allow-partial"
        )
    by_index = {case.index: case for case in cases}
    return Checked(
        paths=found.paths,
        missing=len(found.missing),
        sha256=checksum(
            [
                hashlib.sha256(f"{by_index[index].id(sample)} {digest}".encode()).hexdigest()
                for (index, sample), digest in digests.items()
            ]
        ),
    )


def _open(
    paths: Mapping[tuple[int, int], Path], folder: Path, on_picture: Callable[[int, int], None]
) -> tuple[dict[tuple[int, int], str], list[str]]:
    """The checksum of each file, and which of them cannot be decoded."""

    def opened(path: Path) -> tuple[str, str | None]:
        try:
            content = path.read_bytes()
            open_rgb(content)
        except (OSError, InputError) as error:
            return "0", f"{path.relative_to(folder)}: {describe(error)}"
        return hashlib.sha256(content).hexdigest(), None

    digests: dict[tuple[int, int], str] = {}
    damaged = []
    with ThreadPoolExecutor() as pool:
        for key, (digest, problem) in zip(paths, pool.map(opened, paths.values()), strict=True):
            digests[key] = digest
            if problem is not None:
                damaged.append(problem)
            on_picture(len(digests), len(paths))
    return digests, damaged


def _duplicates(
    digests: Mapping[tuple[int, int], str], paths: Mapping[tuple[int, int], Path], folder: Path
) -> list[str]:
    first: dict[str, tuple[int, int]] = {}
    told = []
    for key, digest in digests.items():
        other = first.setdefault(digest, key)
        if other != key and digest != "0":
            told.append(
                f"{paths[key].relative_to(folder)}: the same picture as "
                f"{paths[other].relative_to(folder)}; where a model really makes one picture for "
                "several prompts or seeds, --allow-duplicates"
            )
    return told


def _nothing(benchmark: Benchmark, folder: Path, cases: Sequence[Case], found: Found) -> str:
    wanted = ", ".join(benchmark.layout.place(case, 0) for case in cases[:2])
    rest = f"; there is {found.problems[0]}" if found.problems else ""
    return (
        f"{folder} holds no pictures of {benchmark.name}, such as {wanted} with the extension of "
        f"a picture{rest}"
    )


def _listed(lines: Sequence[str]) -> str:
    more = [f"  and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
    return "\n".join([*(f"  {line}" for line in lines[:_TOLD]), *more])
