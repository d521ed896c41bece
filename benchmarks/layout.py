"""The names of a benchmark's files below their folder: how they are written, and found again.

Files are checked before they are scored: a file without a place in the set, two files for one
place, and prompts with too few files are named.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, final

from benchmarks.prompts import Case
from rewardkit.errors import describe
from rewardkit.media.places import walk
from rewardkit.records.documents import DamagedDocument, read_json

Key = tuple[str | None, int | str]


@final
@dataclass(frozen=True)
class FileSet:
    """The files of a set that are in a folder.

    Attributes:
        paths: by (index of the prompt, sample).
        missing: paths of the files that are not there, below the folder, without extension.
        problems: what is wrong with other files, one line each.
    """

    paths: Mapping[tuple[int, int], Path]
    missing: Sequence[str]
    problems: Sequence[str]


def _nothing_beside(case: Case) -> dict[str, Any]:
    return {}


@final
@dataclass(frozen=True)
class Layout:
    """How the files of samples are named.

    Attributes:
        place: the path of a case's sample below the folder, without extension.
        pattern: a regular expression for the whole of such a path. Its group `prompt` is the number
            of the prompt, or `text` the prompt itself; `sample`, if there is one, the number of the
            sample, and `task`, if there is one, the folder within which prompts are numbered.
        ignored: names of files that upstream's tools leave among them.
        among_others: whether the folder may be that of a larger benchmark: files of other prompts,
            and samples beyond those that are wanted, are then not read.
        beside: JSON files that belong to a case, by their path below the folder.
    """

    place: Callable[[Case, int], str]
    pattern: str
    ignored: frozenset[str] = frozenset()
    among_others: bool = False
    beside: Callable[[Case], dict[str, Any]] = field(default=_nothing_beside)

    @property
    def numbers_samples(self) -> bool:
        """Whether it has places for more than one sample of a prompt."""
        return "sample" in re.compile(self.pattern).groupindex

    def write_beside(self, folder: Path, case: Case) -> None:
        """Writes the JSON files of a case that are not there yet."""
        from rewardkit.records.storage import atomic_write

        for name, value in self.beside(case).items():
            path = folder / name
            if not path.exists():
                with atomic_write(path) as temporary:
                    temporary.write_text(json.dumps(value) + "\n", "utf-8")

    def find(
        self,
        folder: Path,
        cases: Sequence[Case],
        samples: int,
        *,
        among: Sequence[Case],
        suffixes: Collection[str],
    ) -> FileSet:
        """The files of `cases`, in any of the formats with these suffixes.

        Samples of a prompt are told apart by their numbers; where these do not all lie below
        `samples`, by their order.

        Args:
            folder: the folder of the set.
            cases: the cases whose files are wanted: all, or those of a shard.
            samples: how many files each case has.
            among: all cases of the set.
            suffixes: of files that can be read, in small letters.
        """
        unreadable: list[str] = []
        keys = {self._key(case): case for case in among}
        wanted = {case.index for case in cases}
        numbered: dict[int, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
        problems: list[str] = []
        for path in sorted(walk(folder, unreadable)):
            below = path.relative_to(folder).as_posix()
            match = re.fullmatch(self.pattern, str(PurePosixPath(below).with_suffix("")))
            readable = path.suffix.lower() in suffixes
            if match is None:
                if readable and path.name not in self.ignored:
                    problems.append(f"{below}: not the name of a file of this set")
                continue
            case, number = keys.get(_key_of(match)), int(match.groupdict().get("sample") or 0)
            if self.among_others and (case is None or number >= samples):
                continue
            if case is None:
                problems.append(f"{below}: there is no such prompt among the {len(among)}")
            elif not readable:
                problems.append(f"{below}: not an extension that can be read here")
            elif case.index in wanted:
                numbered[case.index][number].append(path)
        problems += unreadable
        paths: dict[tuple[int, int], Path] = {}
        missing: list[str] = []
        for case in cases:
            problems += _wrong_beside(folder, self.beside(case))
            files = numbered[case.index]
            twice = [names for names in files.values() if len(names) > 1]
            problems += [f"{names[0]} and {names[1].name}: two for one place" for names in twice]
            if len(files) > samples:
                problems.append(
                    f"{self.place(case, 0)} and following: {len(files)} files for this prompt; "
                    f"{samples} of each are expected (--samples)"
                )
            in_range = all(number < samples for number in files)
            for rank, number in enumerate(sorted(files)):
                paths[case.index, number if in_range else rank] = files[number][0]
            missing += [
                self.place(case, sample)
                for sample in range(samples)
                if (case.index, sample) not in paths
            ]
        return FileSet(paths, missing, problems)

    def _key(self, case: Case) -> Key:
        match = re.fullmatch(self.pattern, self.place(case, 0))
        assert match is not None, "a place matches its own pattern"
        return _key_of(match)


def _key_of(match: re.Match[str]) -> Key:
    """The prompt that a path names."""
    groups = match.groupdict()
    return groups.get("task"), groups["text"] if "text" in groups else int(groups["prompt"])


def _wrong_beside(folder: Path, beside: Mapping[str, Any]) -> list[str]:
    """What is wrong with the JSON files of a case; one that is absent is not wrong."""
    problems = []
    for name, expected in beside.items():
        try:
            content = read_json(folder / name)
        except FileNotFoundError:
            continue
        except (OSError, DamagedDocument) as error:
            reason = error.reason if isinstance(error, DamagedDocument) else describe(error)
            problems.append(f"{name}: not readable as JSON ({reason})")
            continue
        if content != expected:
            problems.append(
                f"{name} says {json.dumps(content)[:200]}, and the benchmark's line is "
                f"{json.dumps(expected)[:200]}"
            )
    return problems


#: 00012-03, as `rewardkit generate` names its files; 00012 is the first of its prompt.
NUMBERED = Layout(
    place=lambda case, sample: f"{case.index:05d}-{sample:02d}",
    pattern=r"(?P<prompt>\d+)(-(?P<sample>\d+))?",
)
