"""The pictures of a benchmark: made by a model, or found where somebody made them, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.benchmark import Benchmark, Case, PromptSet
from benchmarks.layout import Found
from benchmarks.results import checksum
from benchmarks.shard import WHOLE, Shard
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.generators.gallery import made_by
from rewardkit.generators.protocol import CARD
from rewardkit.media.images import open_rgb
from rewardkit.records.provenance import sha256_text

if TYPE_CHECKING:
    from rewardkit.generators.pipelines import Pipeline
    from rewardkit.generators.protocol import Protocol

# Of a long list of what is wrong, this many are told.
_TOLD = 10


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@final
class Source(_Told):
    """Where a model is from."""

    source: str
    alias: str | None
    revision: str | None


@final
class Making(_Told):
    """How the pictures of a folder were made here, as its card says."""

    model: Source
    lora: str | None
    trained_on: dict[str, Any] | None
    scheduler: dict[str, Any]
    dtype: str
    decoded: str | None = None
    protocol: dict[str, Any]
    prompts: str
    samples: int
    seed: int
    pictures: str | None = None
    batch: int | None = None


@final
@dataclass(frozen=True)
class Checked:
    """Pictures that are what they should be.

    Attributes:
        paths: by (prompt's index, sample).
        sha256: of all of them, as results have it.
        made: how they were made; None where they were made elsewhere.
    """

    paths: Mapping[tuple[int, int], Path]
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
        seed: of the whole.
        protocol: instead of the pipeline's own.
        batch_size: pictures of a prompt made at once; None is all of them.
        shard: which prompts.
        on_picture: told before the first picture and after each: how many there are, of how many.

    Raises:
        UsageError: the folder holds pictures made in another way, or they are too many.
        InputError: pictures were removed while others were made.
    """
    from rewardkit.generators.gallery import Planned, check_kept, check_number, claim, make_media
    from rewardkit.generators.noise import picture_seed
    from rewardkit.generators.requests import Request
    from rewardkit.media.writing import suffix_of

    protocol = protocol or pipeline.protocol
    samples = benchmark.samples
    check_number(len(shard.of(prompts.cases)), samples)
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
                folder / f"{benchmark.layout.place(case, sample)}{suffix_of(pipeline.task)}",
                Request(case.prompt, picture_seed(seed, case.index, sample)),
            )
            for sample in range(samples)
        ]
        batches += [group[i : i + batch] for i in range(0, samples, batch)]
    there = [one.path.exists() for group in batches for one in group]
    if not all(there):
        on_picture(sum(there), len(there))
    make_media(pipeline, batches, protocol, on_picture)
    check_kept(folder, [one.path for group in batches for one in group])


def check(
    benchmark: Benchmark,
    prompts: PromptSet,
    folder: Path,
    *,
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
        shard: whose pictures are wanted.
        allow_partial: take what is there.
        allow_duplicates: take files that are the same for several places. What was made here is
            taken anyway: it is what the model makes, be it twice the same.
        on_picture: told after each picture: how many were opened, of how many.

    Raises:
        UsageError: there is no such folder.
        InputError: pictures are missing, damaged, twice there, in the wrong place, or made for
            other prompts.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    made = making(folder)
    if made is not None and made.prompts not in _checksums(prompts):
        raise InputError(
            f"the pictures in {folder} were made for other prompts than those of {benchmark.name} "
            f"({prompts.source}): give the prompts they were made for"
        )
    cases = shard.of(prompts.cases)
    found = benchmark.layout.find(folder, cases, benchmark.samples, prompts.cases)
    if not found.paths:
        raise InputError(_nothing(benchmark, folder, cases, found))
    problems = list(found.problems)
    digests, damaged = _open(found.paths, folder, on_picture)
    problems += damaged
    if not allow_duplicates and made is None:
        problems += _duplicates(digests, found.paths, folder)
    if problems:
        raise InputError(
            f"{folder} is not a set of pictures of {benchmark.name}:\n" + _listed(problems)
        )
    if found.missing and not allow_partial:
        expected = len(cases) * benchmark.samples
        raise InputError(
            f"{len(found.missing)} of {expected} pictures of {benchmark.name} are missing in "
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


def making(folder: Path) -> Making | None:
    """How the pictures of a folder were made, where that was here.

    Raises:
        InputError: its card is damaged.
    """
    told = made_by(folder)
    if told is None:
        return None
    try:
        return Making.model_validate(told)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise InputError(
            f"{folder / CARD} does not say how pictures were made: {place}: {wrong['msg']}"
        ) from error


def _checksums(prompts: PromptSet) -> tuple[str, str]:
    """What cards of these prompts say: ours, and those of `rewardkit generate`."""
    return prompts.sha256, sha256_text("\n".join(case.prompt for case in prompts.cases))


def _open(
    paths: Mapping[tuple[int, int], Path], folder: Path, on_picture: Callable[[int, int], None]
) -> tuple[dict[tuple[int, int], str], list[str]]:
    """The checksum of each file that can be decoded, and what is wrong with the others."""

    def opened(path: Path) -> tuple[str | None, str]:
        try:
            content = path.read_bytes()
            open_rgb(content)
        except (OSError, InputError) as error:
            return None, f"{path.relative_to(folder)}: {describe(error)}"
        return hashlib.sha256(content).hexdigest(), ""

    digests: dict[tuple[int, int], str] = {}
    damaged = []
    with ThreadPoolExecutor() as pool:
        for key, (digest, problem) in zip(paths, pool.map(opened, paths.values()), strict=True):
            if digest is None:
                damaged.append(problem)
            else:
                digests[key] = digest
            on_picture(len(digests) + len(damaged), len(paths))
    return digests, damaged


def _duplicates(
    digests: Mapping[tuple[int, int], str], paths: Mapping[tuple[int, int], Path], folder: Path
) -> list[str]:
    first: dict[str, tuple[int, int]] = {}
    told = []
    for key, digest in digests.items():
        other = first.setdefault(digest, key)
        if other != key:
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
