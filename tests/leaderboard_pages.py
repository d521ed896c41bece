"""What pages are made of in tests, and when they are ready."""

from dataclasses import replace

import av
import numpy as np
from made_results import made, write
from PIL import Image
from playwright.sync_api import expect

from benchmarks.rows import place
from leaderboards.assemble import assemble
from leaderboards.board import Leaderboard, Ranks
from rewardkit.records.rows import Row, write_rows

# Of a busy machine, in milliseconds; the one test of speed measures.
WAIT = 30_000


def drawn(page):
    """The page once each of its plots is drawn, as for a reader who went through it."""
    for figure in page.query_selector_all(".drawing"):
        figure.scroll_into_view_if_needed()
    expect(page.locator(".drawing:not([data-drawn])")).to_have_count(0, timeout=WAIT)
    page.evaluate("scrollTo(0, 0)")
    return page


def ready(page):
    """The page once its tables can be sorted."""
    expect(page.locator("table.grid:not([data-ready])")).to_have_count(0, timeout=WAIT)
    return page


def with_pictures(loaded, folder, prompt=None):
    """Writes a result below `folder` with pictures of one colour, and reads it again."""
    path = write(loaded, folder)
    rows = [
        Row(
            id=id,
            path=f"pictures/{id.replace('/', '-')}.png",
            prompt=prompt or f"prompt {place(id)[1]}",
            scores=dict(row.scores),
        )
        for id, row in loaded.rows.items()
    ]
    write_rows(folder / loaded.result.rows, rows, list(loaded.result.metrics), False)
    (folder / "pictures").mkdir()
    for number, row in enumerate(rows):
        Image.new("RGB", (32, 32), (number, 80, 160)).save(folder / row.path)
    return path


def with_clips(loaded, folder):
    """Writes a result below `folder` with clips of a square that moves, and reads it again."""
    path = write(loaded, folder)
    rows = [
        Row(
            id=id,
            path=f"clips/{id.replace('/', '-')}.mp4",
            prompt=f"prompt {place(id)[1]}",
            scores=dict(row.scores),
        )
        for id, row in loaded.rows.items()
    ]
    write_rows(folder / loaded.result.rows, rows, list(loaded.result.metrics), False)
    (folder / "clips").mkdir()
    for number, row in enumerate(rows):
        encode(moving_square(number), folder / row.path)
    return path


def moving_square(number, frames=4):
    """uint8 `[F, 32, 32, 3]`: a square of 8 pixels that moves by 4 in each frame."""
    clip = np.full((frames, 32, 32, 3), (number, 80, 160), np.uint8)
    for index, frame in enumerate(clip):
        frame[8:16, 4 * index : 4 * index + 8] = 255
    return clip


def encode(clip, path, codec="libx264rgb", container="mp4", options=(("qp", "0"),)):
    """Writes frames at 8 per second, by default without loss: H.264 of RGB."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=8, options=dict(options))
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "rgb24" if codec == "libx264rgb" else "yuv420p"
        for frame in clip:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def many(number):
    """A board of `number` rows; the paired tests of as many models are not what is tested here."""
    (board,) = assemble([made("model", 0.5)]).boards
    (entry,) = board.entries
    score = entry.score
    entries = tuple(
        replace(
            entry,
            id=f"quiz-model-{rank}",
            label=f"model {rank:03d}",
            score=score.model_copy(
                update={"score": 1 - rank / 1000, "interval": (0.9 - rank / 1000, 1.0)}
            ),
            ranks=Ranks(rank, rank),
        )
        for rank in range(1, number + 1)
    )
    return Leaderboard((replace(board, entries=entries),))
