"""Clips are on the page as pictures are: copied as they are, checked, and left out by name."""

import re

import numpy as np
import pytest
from leaderboard_pages import encode, moving_square, with_clips, with_pictures
from made_results import made
from PIL import Image

from leaderboards.assemble import leaderboard
from leaderboards.page.copies import Copies
from leaderboards.page.runs import read_runs
from leaderboards.page.site import build
from leaderboards.page.view import groups

SECRET = b"root:x:0:0:root:/root:/bin/bash\n"


@pytest.fixture
def copies(tmp_path):
    return Copies(tmp_path / "media")


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    encode(moving_square(7), path)
    return path


def test_a_clip_is_copied_as_it_is_with_its_first_frame(clip, copies, tmp_path):
    copy = copies.copy(clip, "name")
    assert copy == ("media/name.mp4", "media/name.mp4.png") and copies.notes == []
    assert (tmp_path / copy.address).read_bytes() == clip.read_bytes()
    with Image.open(tmp_path / copy.poster) as poster:
        assert np.array_equal(np.asarray(poster), moving_square(7)[0])


def test_webm_is_shown_too(copies, tmp_path):
    encode(moving_square(7), tmp_path / "clip.webm", "libvpx-vp9", "webm", ())
    assert copies.copy(tmp_path / "clip.webm", "name").poster == "media/name.webm.png"


def text(path):
    path.write_bytes(SECRET)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])


def picture(path):
    Image.new("RGB", (8, 8)).save(path, format="PNG")


def mpeg4(path):
    encode(moving_square(1), path, "mpeg4", options=())


def avi(path):
    encode(moving_square(1), path, "libx264", "avi")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (text, "looks like text"),
        (cut_short, "cannot be decoded as a video|cut short"),
        (picture, "looks like a PNG picture"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (
            lambda path: encode(moving_square(1), path, "mpeg4", options=()),
            "it is mpeg4 in mov,mp4",
        ),
        (avi, "it is h264 in avi"),
    ],
)
def test_what_browsers_do_not_show_is_left_out_and_named(spoil, why, clip, copies, tmp_path):
    spoil(clip)
    assert copies.copy(clip, "name") is None
    (note,) = copies.notes
    assert note.startswith("1 file is not shown: ") and re.search(why, note)
    assert "clip.mp4" in note and str(tmp_path / "media") not in note
    assert not list((tmp_path / "media").glob("*"))


def test_a_clip_is_held_to_the_limits_of_pictures(clip, copies, monkeypatch):
    monkeypatch.setattr("leaderboards.page.copies.MAX_PIXELS", 32 * 32 - 1)
    assert copies.copy(clip, "name") is None
    monkeypatch.setattr("leaderboards.page.copies._MAX_BYTES", 100)
    assert copies.copy(clip, "name") is None
    assert [note.split(": ")[1] for note in copies.notes] == [
        "its frames have 32 x 32 pixels",
        f"it has {clip.stat().st_size:,} bytes; up to 100 are copied",
    ]


def test_a_linked_clip_is_left_out(clip, copies, tmp_path):
    (tmp_path / "link.mp4").symlink_to(clip)
    assert copies.allowed(tmp_path, "link.mp4", [tmp_path]) is None
    assert "reached through a link" in copies.notes[0]
    assert copies.allowed(tmp_path, "clip.mp4", [tmp_path]) == clip


def test_boards_of_each_task_stand_apart_with_their_media(tmp_path):
    with_pictures(made("alpha", 0.9), tmp_path / "results" / "image")
    for task in ("text-to-video", "image-to-video"):
        for name, score in (("base", 0.5), ("trained", 0.9)):
            folder = tmp_path / "results" / task / name
            with_clips(made(name, score, task=task, benchmark="clips"), folder)
    shown = leaderboard([tmp_path / "results"])
    assert [
        (group.name, [view.board.task for view in group.boards]) for group in groups(shown)
    ] == [
        ("image", ["text-to-image"]),
        ("T2V", ["text-to-video"]),
        ("I2V", ["image-to-video"]),
    ]
    notes = []
    page = build(shown, tmp_path / "site", per_task=1, on_note=notes.append).read_text("utf-8")
    assert notes == []
    sections = re.split(r'<section aria-labelledby="group\.', page)[1:]
    assert [len(re.findall("<img ", section)) for section in sections] == [2, 0, 0]
    assert [len(re.findall("<video ", section)) for section in sections] == [0, 4, 4]
    # Before and after training stand side by side: two clips of each of two tasks.
    row = re.search(r'<div class="comparison" .*?</ul>', sections[1], re.S).group()
    assert re.findall(r'aria-label="prompt 0, by (\w+)"', row) == ["trained", "base"]
    assert "judge of each clip" in sections[1] and "clip 0, seed 0" in row
    for tag in re.findall("<video [^>]*>", page):
        assert {"muted", "playsinline", "loop", 'preload="none"'} <= set(tag.split())
        assert "autoplay" not in tag and "poster=" in tag


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda sheet, patch: cut_short(sheet), "cannot be decoded as a video|cut short"),
        (lambda sheet, patch: mpeg4(sheet), "it is mpeg4 in mov,mp4"),
        (lambda sheet, patch: sheet.unlink(), None),
        (
            lambda sheet, patch: patch.setattr("leaderboards.page.copies._MAX_BYTES", 100),
            "up to 100 are copied",
        ),
    ],
    ids=["damaged", "not for browsers", "missing", "too large"],
)
def test_a_playing_sheet_that_cannot_be_copied_is_a_note_and_no_player(
    spoil, why, runs, tmp_path, monkeypatch
):
    samples = tmp_path / "runs" / "first" / "samples"
    for step in (0, 20):
        encode(moving_square(step), samples / f"step-{step:06d}.mp4")
    logged, notes = read_runs(tmp_path / "runs"), []

    def page():
        return build(
            leaderboard([], with_published=True), tmp_path / "site", runs=logged,
            on_note=notes.append,
        ).read_text("utf-8")  # fmt: skip

    assert page().count("<video ") == 2 and notes == []
    spoil(samples / "step-000020.mp4", monkeypatch)
    html = page()
    assert "<video " not in html and "Samples before and after are not shown" in html
    assert "step 20 are missing, too large" in html and "step-000020" not in html
    assert why is None or re.search(why, notes[0])
    assert not list((tmp_path / "site").glob("media/run-0.step-000020*"))
