"""Where the pictures of a set lie below its folder: written so, and found again, each or named.

What is found is checked before hours are spent: a file that has no place in the set, two for one
place, and prompts that have too few are told by name.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, final

from rewardkit.errors import describe
from rewardkit.media.images import image_suffixes
from rewardkit.media.places import walk
from rewardkit.records.documents import DamagedDocument, read_json

if TYPE_CHECKING:
    from benchmarks.benchmark import Case

Key = tuple[str | None, int]


@final
@dataclass(frozen=True)
class Found:
    """The pictures of a set.

    Attributes:
        paths: by (prompt's index, sample).
        missing: what is not there, as paths below the folder, without extension.
        problems: what must not be there, or not as it is.
    """

    paths: Mapping[tuple[int, int], Path]
    missing: Sequence[str]
    problems: Sequence[str]


def _nothing(case: Case) -> dict[str, Any]:
    return {}


@final
@dataclass(frozen=True)
class Layout:
    """How pictures are named.

    Attributes:
        place: the path of a case's sample below the folder, without extension.
        pattern: what every such path matches whole: the groups `prompt`, a number, and where there
            are such `task` and `sample`, a number too.
        ignored: names of pictures that upstream's tools leave beside them.
        beside: JSON that lies below the folder for a case, by path.
    """

    place: Callable[[Case, int], str]
    pattern: str
    ignored: frozenset[str] = frozenset()
    beside: Callable[[Case], dict[str, Any]] = field(default=_nothing)

    @property
    def numbers_samples(self) -> bool:
        """Whether it has places for more than one picture of a prompt."""
        return "sample" in re.compile(self.pattern).groupindex

    def write_beside(self, folder: Path, case: Case) -> None:
        """Writes what lies beside the pictures of a case, where it is not there yet."""
        from rewardkit.records.storage import atomic_write

        for name, value in self.beside(case).items():
            path = folder / name
            if not path.exists():
                with atomic_write(path) as temporary:
                    temporary.write_text(json.dumps(value) + "\n", "utf-8")

    def find(
        self, folder: Path, cases: Sequence[Case], samples: int, among: Sequence[Case]
    ) -> Found:
        """The pictures of `cases`, of any format that can be read.

        Samples of a prompt are told apart by their numbers; where those do not run from 0 below
        `samples`, by their order.

        Args:
            folder: of the set.
            cases: whose pictures are wanted: all, or those of a shard.
            samples: of each.
            among: all cases of the set.
        """
        unreadable: list[str] = []
        keys = {self._key(one): one for one in among}
        wanted = {one.index for one in cases}
        numbered: dict[int, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
        problems: list[str] = []
        for path in sorted(walk(folder, unreadable)):
            below = path.relative_to(folder).as_posix()
            match = re.fullmatch(self.pattern, str(PurePosixPath(below).with_suffix("")))
            picture = path.suffix.lower() in image_suffixes()
            if match is None:
                if picture and path.name not in self.ignored:
                    problems.append(f"{below}: a picture that is none of the set's")
                continue
            case = keys.get((match.groupdict().get("task"), int(match["prompt"])))
            if case is None:
                problems.append(f"{below}: there is no such prompt, of {len(among)}")
            elif not picture:
                problems.append(f"{below}: not the extension of a picture")
            elif case.index in wanted:
                numbered[case.index][int(match.groupdict().get("sample") or 0)].append(path)
        problems += unreadable
        paths: dict[tuple[int, int], Path] = {}
        missing: list[str] = []
        for case in cases:
            problems += _wrong_beside(folder, self.beside(case))
            there = numbered[case.index]
            twice = [names for names in there.values() if len(names) > 1]
            problems += [f"{names[0]} and {names[1].name}: two for one place" for names in twice]
            if len(there) > samples:
                problems.append(
                    f"{self.place(case, 0)} and on: {len(there)} pictures of this prompt; "
                    f"{samples} of each are asked for (--samples)"
                )
            in_range = all(number < samples for number in there)
            for rank, number in enumerate(sorted(there)):
                paths[case.index, number if in_range else rank] = there[number][0]
            missing += [
                self.place(case, sample)
                for sample in range(samples)
                if (case.index, sample) not in paths
            ]
        return Found(paths, missing, problems)

    def _key(self, case: Case) -> Key:
        match = re.fullmatch(self.pattern, self.place(case, 0))
        assert match is not None, "a place matches its own pattern"
        return match.groupdict().get("task"), int(match["prompt"])


def _wrong_beside(folder: Path, beside: Mapping[str, Any]) -> list[str]:
    """What lies beside pictures and does not say what it should; what is absent says nothing."""
    problems = []
    for name, expected in beside.items():
        try:
            told = read_json(folder / name)
        except FileNotFoundError:
            continue
        except (OSError, DamagedDocument) as error:
            reason = error.reason if isinstance(error, DamagedDocument) else describe(error)
            problems.append(f"{name}: not readable as JSON ({reason})")
            continue
        if told != expected:
            problems.append(
                f"{name} says {json.dumps(told)[:200]}, and the benchmark's line is "
                f"{json.dumps(expected)[:200]}"
            )
    return problems


#: Ours: 00012-03.png, as `rewardkit generate` names pictures; 00012.png is the first of its prompt.
NUMBERED = Layout(
    place=lambda case, sample: f"{case.index:05d}-{sample:02d}",
    pattern=r"(?P<prompt>\d+)(-(?P<sample>\d+))?",
)
