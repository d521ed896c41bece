import inspect
import os
import sys
from pathlib import Path

import pytest

from rewardkit.errors import UsageError
from rewardkit.media.places import fixed_part, is_folder, match, walk


def tree(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def below(root, found):
    return sorted(str(path.relative_to(root)) for path in found)


def test_a_folder_is_walked_to_any_depth_without_hidden_names(tmp_path):
    tree(tmp_path, "a", "b/c/d/e", "b/f", ".hidden", ".git/g", "b/.cache/h", "._a")
    assert below(tmp_path, walk(tmp_path, [])) == ["a", "b/c/d/e", "b/f"]


def test_links_are_followed_and_loops_end(tmp_path):
    tree(tmp_path, "in/a", "in/deep/b", "out/c")
    (tmp_path / "in" / "up").symlink_to("..", target_is_directory=True)
    (tmp_path / "in" / "self").symlink_to(".", target_is_directory=True)
    (tmp_path / "in" / "out").symlink_to("../out", target_is_directory=True)
    (tmp_path / "in" / "gone").symlink_to("nowhere")
    (tmp_path / "in" / "round").symlink_to("round")
    assert below(tmp_path / "in", walk(tmp_path / "in", [])) == [
        "a",
        "deep/b",
        "gone",
        "out/c",
        "round",
        "up/out/c",  # up is not a loop by itself: from there, out is a new folder
    ]


def test_a_folder_that_cannot_be_listed_is_reported_and_the_rest_walked(tmp_path, monkeypatch):
    tree(tmp_path, "a", "locked/b", "open/c")
    iterdir = Path.iterdir

    def refuse(path):  # root, as which tests may run, is refused nothing
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    unreadable = []
    assert below(tmp_path, walk(tmp_path, unreadable)) == ["a", "open/c"]
    assert unreadable == [f"'{tmp_path}/locked': Permission denied"]


def test_a_place_where_one_may_not_look_is_no_folder(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert not is_folder(Path("anything"))


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("*.png", ["a.png"]),
        ("*", ["a.png", "b/c.png", "b/d/e.png", "b/d/f.txt", "g/d/h.png"]),  # folders: all in them
        ("b/*.png", ["b/c.png"]),
        ("*/d", ["b/d/e.png", "b/d/f.txt", "g/d/h.png"]),
        ("**", ["a.png", "b/c.png", "b/d/e.png", "b/d/f.txt", "g/d/h.png"]),
        ("**/*.png", ["a.png", "b/c.png", "b/d/e.png", "g/d/h.png"]),
        ("**/d/*.png", ["b/d/e.png", "g/d/h.png"]),
        ("**/d", ["b/d/e.png", "b/d/f.txt", "g/d/h.png"]),
        ("b/**/*.png", ["b/c.png", "b/d/e.png"]),
        ("[bg]/**/[eh].png", ["b/d/e.png", "g/d/h.png"]),
    ],
)
def test_patterns_match_as_in_a_shell(tmp_path, pattern, files):
    tree(tmp_path, "a.png", "b/c.png", "b/d/e.png", "b/d/f.txt", "g/d/h.png", ".i.png", ".j/k.png")
    assert below(tmp_path, match(f"{tmp_path}/{pattern}", [])) == files


def test_two_loops_do_not_keep_a_pattern_running(tmp_path):
    tree(tmp_path, "a.png")
    for name in ("x", "y", "z"):  # left to glob: 3 to the power of 40 paths
        (tmp_path / name).symlink_to(".", target_is_directory=True)
    assert below(tmp_path, match(f"{tmp_path}/**/*.png", [])) == ["a.png"]


@pytest.mark.parametrize(
    ("pattern", "reason"), [("/nowhere/*.png", "matches no file"), ("**/a/**", "at most one")]
)
def test_a_pattern_that_cannot_be_met_is_a_wrong_request(pattern, reason):
    with pytest.raises(UsageError, match=reason):
        match(pattern, [])


@pytest.mark.parametrize(
    ("pattern", "fixed"),
    [("*.png", "."), ("a/b/*.png", "a/b"), ("/a/b?/c/*", "/a"), ("a/**/b/c", "a"), ("/*", "/")],
)
def test_the_fixed_part_ends_before_the_first_wildcard(pattern, fixed):
    assert str(fixed_part(pattern)) == fixed


def test_names_need_not_be_text(tmp_path):
    name = os.fsdecode(b"\xff\n.png")
    tree(tmp_path, name)
    assert below(tmp_path, walk(tmp_path, [])) == [name]
    assert below(tmp_path, match(f"{tmp_path}/*.png", [])) == [name]


def test_folders_deeper_than_python_calls_are_walked_to_the_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limit = sys.getrecursionlimit()
    deep = Path(*["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "a").touch()
    (deep / "up").symlink_to(tmp_path / "d", target_is_directory=True)
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = list(walk(Path("d"), []))
    finally:
        sys.setrecursionlimit(limit)
    assert found == [deep / "a"]
