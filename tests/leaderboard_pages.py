"""What pages are made of in tests, and when they are ready."""

from dataclasses import replace

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
