"""A page holds pictures of what was named, and nothing else of the reader's disk."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from leaderboard_pages import with_pictures
from made_results import made
from PIL import Image

from benchmarks.reading import read_result, read_table
from leaderboards.assemble import leaderboard
from leaderboards.cli import leaderboard as command
from leaderboards.page.copies import Copies
from leaderboards.page.runs import read_runs
from leaderboards.page.site import build
from rewardkit.records.rows import write_rows

SECRET = b"root:x:0:0:root:/root:/bin/bash\n"
PER_TASK = 12  # all prompts of a task


def rewrite(path, change):
    """Writes the rows of a result anew, each with another path."""
    result = read_result(path)
    table = read_table(result, path)
    rows = [replace(row, path=change(row.path)) for row in table.rows]
    write_rows(path.parent / result.rows, rows, table.rewards, table.with_total)


def shown(folder, site, *paths):
    """The names of the copies on the page of `folder`, and what is told."""
    notes = []
    index = build(leaderboard([folder, *paths]), site, per_task=PER_TASK, on_note=notes.append)
    media = index.parent / "media"
    return sorted(media.iterdir()) if media.exists() else [], notes


@pytest.fixture
def share(tmp_path):
    """A result that somebody sent, beside secrets and pictures of the reader."""
    with_pictures(made("alpha", 0.9), tmp_path / "share")
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "private").mkdir()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "private" / "mine.png")
    (tmp_path / "private" / "key.png").write_bytes(SECRET)
    return tmp_path / "share" / "alpha.quiz.json"


def first(path):
    return path.parent / read_table(read_result(path), path).rows[0].path


def test_pictures_of_the_folder_are_copied(share, tmp_path):
    copies, notes = shown(share.parent, tmp_path / "site")
    assert len(copies) == 24 and notes == []  # one sample of each prompt


def by_link(share, tmp_path):
    picture = first(share)
    picture.unlink()
    picture.symlink_to(tmp_path / "secret")


def by_link_to_a_picture(share, tmp_path):
    picture = first(share)
    picture.unlink()
    picture.symlink_to(tmp_path / "private" / "mine.png")


def by_linked_folder(share, tmp_path):
    (share.parent / "more").symlink_to(tmp_path / "private", target_is_directory=True)
    replace_first(share, "more/mine.png")


def replace_first(share, path):
    old = first(share).relative_to(share.parent).as_posix()
    rewrite(share, lambda name: path if name == old else name)


HOSTILE = {
    "a link to a text": by_link,
    "a link to a picture": by_link_to_a_picture,
    "a linked folder": by_linked_folder,
    "a path above": lambda share, _: replace_first(share, "../private/mine.png"),
    "an absolute path": lambda share, tmp: replace_first(share, f"{tmp}/private/mine.png"),
    "down and up": lambda share, _: replace_first(share, "pictures/../../private/mine.png"),
    "a text": lambda share, _: first(share).write_bytes(SECRET),
    "a name without extension": lambda share, tmp: replace_first(share, "../secret"),
    "nothing in it": lambda share, _: first(share).write_bytes(b""),
    "a name too long": lambda share, _: replace_first(share, "x" * 5000 + ".png"),
    "a long path": lambda share, _: replace_first(share, "x/" * 2500 + "y.png"),
    "a folder": lambda share, _: (first(share).unlink(), first(share).mkdir()),
    "a pipe": lambda share, _: (first(share).unlink(), os.mkfifo(first(share))),
    "a device": lambda share, _: replace_first(share, "/dev/zero"),
    "a loop": lambda share, _: (first(share).unlink(), first(share).symlink_to(first(share))),
    "a picture too large": lambda share, _: first(share).write_bytes(bomb()),
    "another format": lambda share, _: Image.new("RGB", (4, 4)).save(first(share), format="TIFF"),
}


def bomb():
    """A PNG of 60,000 x 60,000 pixels by its header."""
    import struct
    import zlib

    def chunk(kind, data):
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_picture_of_the_folder_is_left_out_and_named(case, share, tmp_path):
    HOSTILE[case](share, tmp_path)
    # Of this prompt the other sample is shown in its place, if its path is known to be bad.
    copies, notes = shown(share.parent, tmp_path / "site")
    contents = {path.read_bytes() for path in copies}
    assert SECRET not in contents
    assert (tmp_path / "private" / "mine.png").read_bytes() not in contents
    assert not any(path.is_symlink() for path in copies)
    assert len(copies) in (23, 24)
    (note,) = notes
    assert note.startswith("1 file is not shown: ") and len(note) < 400


def test_many_are_counted(share, tmp_path):
    rewrite(share, lambda name: "../private/mine.png")
    copies, (note,) = shown(share.parent, tmp_path / "site")
    assert copies == []
    assert "'../private/mine.png'" in note and "name their folder too" in note


def test_the_folder_of_other_pictures_can_be_named_too(share, tmp_path):
    rewrite(share, lambda name: "../private/mine.png")
    copies, notes = shown(share.parent, tmp_path / "site", tmp_path / "private")
    assert len(copies) == 24 and notes == []


def test_pictures_lie_where_they_were_made_by_the_card_of_that_folder(share, tmp_path):
    (share.parent / "pictures").rename(tmp_path / "made")
    rewrite(share, lambda name: f"../made/{Path(name).name}")
    text = share.read_text("utf-8").replace("pictures/alpha", "../made")
    share.write_text(text, "utf-8")
    assert shown(share.parent, tmp_path / "site")[0] == []  # the result alone says that it is so
    card = (
        '{"made_by": {"model": {"source": "a", "alias": null, "revision": null}, "lora": null, '
        '"trained_on": null, "scheduler": {}, "dtype": "float32", "protocol": {}, "prompts": "", '
        '"samples": 2, "seed": 0}}'
    )
    (tmp_path / "made" / "rewardkit.json").write_text(card)
    copies, notes = shown(share.parent, tmp_path / "site")
    assert len(copies) == 24 and notes == []


def test_links_of_the_user_above_the_folder_are_followed(share, tmp_path):
    (tmp_path / "here").symlink_to(share.parent, target_is_directory=True)
    assert len(shown(tmp_path / "here", tmp_path / "site")[0]) == 24


def test_sheets_of_runs_are_held_to_the_same(runs, tmp_path):
    last = tmp_path / "runs" / "first" / "samples" / "step-000020.png"
    last.unlink()
    last.symlink_to("/etc/passwd")
    notes = []
    shown = leaderboard([], with_published=True)
    index = build(shown, tmp_path / "site", runs=read_runs(tmp_path / "runs"), on_note=notes.append)
    assert "reached through a link" in notes[0]
    contents = [path.read_bytes() for path in (index.parent / "media").iterdir()]
    assert Path("/etc/passwd").read_bytes() not in contents


def test_the_command_tells_what_is_left_out(share, tmp_path):
    by_link(share, tmp_path)
    done = CliRunner().invoke(command, ["build", str(share.parent), "-o", str(tmp_path / "site")])
    assert done.exit_code == 0
    assert "Note: 1 file is not shown: reached through a link: 'pictures/" in done.stderr
    page = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert not re.search(r"reached through a link", page)  # names of this machine's files


PARTS = ["..", ".", "a", "link", "up", "etc", "secret.png", "in.png", "", "a.png", "\0", "~", "é"]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=7), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_the_path_only_pictures_below_the_folder_are_allowed(tmp, parts, absolute):
    root, named = tmp
    path = "/".join([*([str(root)] if absolute else []), *parts])
    place = Copies(root / "media").allowed(named, path, [named])
    if place is not None:
        assert place.resolve().is_relative_to(named) and not place.is_symlink()
        copy = Copies(root / "media").copy(place, "x")
        assert copy is None or copy.address == "media/x.png"
        if (root / "media" / "x.png").exists():
            assert (root / "media" / "x.png").read_bytes() == (named / "a" / "in.png").read_bytes()
            (root / "media" / "x.png").unlink()


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    """A folder with a picture, a text, links out of it and within it; and the one above."""
    root = tmp_path_factory.mktemp("disk").resolve()
    named = root / "a"
    (named / "a").mkdir(parents=True)
    (root / "etc").mkdir()
    for folder in (root, root / "etc"):
        Image.new("RGB", (4, 4), (9, 9, 9)).save(folder / "secret.png")
        Image.new("RGB", (4, 4), (9, 9, 9)).save(folder / "in.png")
    Image.new("RGB", (4, 4)).save(named / "in.png")
    Image.new("RGB", (4, 4)).save(named / "a" / "in.png")
    (named / "secret.png").symlink_to(root / "etc" / "secret.png")
    (named / "a.png").symlink_to(named / "in.png")
    (named / "link").symlink_to(root / "etc", target_is_directory=True)
    (named / "a" / "up").symlink_to(root, target_is_directory=True)
    return root, named
