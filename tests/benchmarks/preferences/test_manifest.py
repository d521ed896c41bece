"""A manifest is read as it stands, and what is wrong in it is named line by line."""

import json

import pytest

from benchmarks.preferences.manifest import read_manifest
from benchmarks.preferences.question import Question
from rewardkit.errors import InputError

GOOD = {"prompt": "a cat", "images": ["a.png", "b/c.png"], "ranking": [2, 1]}


def written(folder, *lines):
    path = folder / "mine.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", "utf-8")
    return path


def test_lines_are_questions(tmp_path):
    tie = {"prompt": "ein Bär", "images": ["1", "2", "3"], "ranking": [1, 1, 2], "tag": "bears"}
    found = read_manifest(written(tmp_path, GOOD, "", tie))
    assert (found.name, found.folder, found.missing) == ("mine", tmp_path, 0)
    assert found.questions == [
        Question("a cat", ("a.png", "b/c.png"), (2.0, 1.0), "all"),
        Question("ein Bär", ("1", "2", "3"), (1.0, 1.0, 2.0), "bears"),
    ]


def test_clips_are_listed_as_videos(tmp_path):
    found = read_manifest(
        written(tmp_path, {"prompt": "a cat", "videos": ["a.mp4", "b.mp4"], "ranking": [1, 1]})
    )
    assert (found.kind, found.noun) == ("video", "clip")
    assert found.questions == [Question("a cat", ("a.mp4", "b.mp4"), (1.0, 1.0))]


def test_checksums_are_of_what_is_said(tmp_path):
    first = read_manifest(written(tmp_path, GOOD))
    assert read_manifest(written(tmp_path, "", GOOD)).sha256 == first.sha256
    other = read_manifest(written(tmp_path, {**GOOD, "ranking": [1, 2]}))
    assert other.sha256 != first.sha256 and other.prompts_sha256 == first.prompts_sha256


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "JSON"),
        ([1], "object"),
        ({**GOOD, "prompt": " "}, "prompt"),
        ({**GOOD, "images": ["a.png"]}, "images"),
        ({**GOOD, "images": ["a.png", "a.png"]}, "twice"),
        ({**GOOD, "videos": ["a.mp4", "b.mp4"]}, "name the files under images, or under videos"),
        (
            {"prompt": "a cat", "videos": ["a.mp4", "b.mp4"], "ranking": [1, 2]},
            "it has videos, and lines before have images",
        ),
        ({**GOOD, "ranking": [1]}, "line 3: 2 images and 1 ranks"),
        ({**GOOD, "ranking": []}, "2 images and 0 ranks"),
        ({**GOOD, "ranking": [0, 1]}, "count from 1; given: 0"),
        ({**GOOD, "ranking": [1, 10**400]}, "a rank is larger than"),
        ({**GOOD, "ranking": [1, 1.5]}, "ranking.1"),
        ({**GOOD, "tag": "two words"}, "tag"),
        ({**GOOD, "rank": [1, 2]}, "rank: Extra"),
        ({"prompt": "a cat", "ranking": [1, 2]}, "name the files under images, or under videos"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, said):
    with pytest.raises(InputError, match=r"mine\.jsonl") as raised:
        read_manifest(written(tmp_path, GOOD, "", line, GOOD))
    (problem,) = [text for text in str(raised.value).splitlines() if text.startswith("  ")]
    assert problem.startswith("  line 3: ") and said in problem


def test_all_wrong_lines_are_named_up_to_ten(tmp_path):
    with pytest.raises(InputError) as raised:
        read_manifest(written(tmp_path, "{", GOOD, *["[]"] * 11))
    problems = [line for line in str(raised.value).splitlines() if line.startswith("  ")]
    assert problems[0].startswith("  line 1") and problems[1].startswith("  line 3")
    assert len(problems) == 11 and problems[-1] == "  and 2 more"


def test_an_empty_manifest_is_refused(tmp_path):
    with pytest.raises(InputError, match="no questions"):
        read_manifest(written(tmp_path, ""))
