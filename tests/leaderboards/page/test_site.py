"""The folder: what it holds, what it replaces, what it refuses to replace."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from leaderboard_pages import many, with_pictures
from made_results import made
from PIL import Image

from leaderboards.assemble import assemble
from leaderboards.cli import leaderboard as command
from leaderboards.page.copies import Copies
from leaderboards.page.gallery import chosen
from leaderboards.page.plots import against, by_task
from leaderboards.page.site import build
from leaderboards.page.view import groups
from rewardkit.errors import UsageError


def test_the_page_is_one_file_and_pictures(page_of, three, runs):
    index = page_of(three, runs=runs, per_task=1)
    assert {path.name for path in index.parent.iterdir()} == {"index.html", "media"}
    # Of two tasks one prompt each of four models, and two sheets.
    assert len(list((index.parent / "media").iterdir())) == 2 * 4 + 2
    assert index.stat().st_size < 6_000_000


def test_200_rows_stay_small(page_of):
    assert page_of(many(200)).stat().st_size < 6_000_000


def test_pictures_are_copied_as_they_are(page_of, three, tmp_path):
    index = page_of(three, per_task=1)
    contents = {path.read_bytes() for path in (tmp_path / "results").rglob("*.png")}
    assert {path.read_bytes() for path in (index.parent / "media").iterdir()} <= contents


def test_every_address_of_the_page_is_in_the_folder(page_of, three, runs):
    index = page_of(three, runs=runs)
    text = index.read_text("utf-8")
    addresses = re.findall(r'(?:src|href|poster)="([^"#]+)"', text)
    assert addresses
    for address in addresses:
        assert address.startswith("data:") or (index.parent / address).is_file()


def test_a_page_is_replaced_with_its_pictures(page_of, three):
    index = page_of(three)
    (index.parent / ".nojekyll").touch()
    old = index.parent / "media" / "old.png"
    old.touch()
    page_of(three, per_task=0)
    assert not old.exists() and (index.parent / ".nojekyll").exists()
    assert not (index.parent / "media").exists()


def test_a_build_that_fails_leaves_the_page_as_it_was(page_of, three, monkeypatch):
    import leaderboards.page.site as site

    index = page_of(three)
    before = {path: path.read_bytes() for path in index.parent.rglob("*") if path.is_file()}
    monkeypatch.setattr(site.libraries, "plotly", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page_of(three, per_task=1)
    assert {path: path.read_bytes() for path in index.parent.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["index.html", "thesis.tex"])
def test_a_folder_of_somebody_else_is_left_alone(name, page_of, three, tmp_path):
    (tmp_path / "site" / "media").mkdir(parents=True)
    (tmp_path / "site" / name).write_text("mine")
    with pytest.raises(UsageError, match="holds no page"):
        page_of(three)
    assert (tmp_path / "site" / name).read_text() == "mine"
    assert (tmp_path / "site" / "media").is_dir()


def test_data_cannot_end_its_script(page_of):
    name = "</script><!--<script>"
    text = page_of(assemble([made(name, 0.9), made("other", 0.5)])).read_text("utf-8")
    assert name not in text
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert json.loads(data)["tasks.quiz-judge"]["series"][0]["name"] == name


def test_a_name_that_is_not_unicode_does_not_end_the_build(page_of, three):
    page_of(replace(three, notes=("a file \udcff is left out",)))


def test_no_two_names_share_a_file(tmp_path):
    source = tmp_path / "picture.PNG"
    Image.new("RGB", (4, 4)).save(source)
    copies = Copies(tmp_path / "media")
    names = ["plain", "w" * 500, "w" * 499 + "v", "日本", "中文", "a b", "a-b", "../a"]
    addresses = [copies.copy(source, name).address for name in names]
    assert addresses[0] == "media/plain.png"
    assert len(set(addresses)) == len(names)
    files = {path.name for path in (tmp_path / "media").iterdir()}
    assert files == {address.removeprefix("media/") for address in addresses}
    assert all(re.fullmatch(r"media/[A-Za-z0-9._-]{1,150}", address) for address in addresses)


def test_pictures_that_most_models_have_are_chosen():
    known = [["a/00000-00", "a/00001-00", "a/00001-01"], ["a/00001-00", "a/00002-00"]]
    assert chosen(known, 1) == ["a/00001-00"]
    assert chosen(known, 2) == ["a/00000-00", "a/00001-00"]
    assert chosen([["b/00007-00", "a/00009-00"]], 4) == ["b/00007-00", "a/00009-00"]
    assert chosen([], 4) == []


def test_bars_stand_where_their_numbers_are():
    (group,) = groups(assemble([made("alpha", 0.9), made("beta", 0.5)]))
    best, last = group.boards[0].measured.rows
    assert last.bar.low == 0 < last.bar.at < last.bar.high < best.bar.low
    assert best.bar.high == 100


def test_the_usual_settings_are_those_that_rows_are_not_marked_for():
    # 20 steps are the commonest, and not more than half.
    steps = {"alpha": 20, "beta": 20, "gamma": 10, "delta": 6}
    (group,) = groups(assemble([made(name, 0.5, steps=n) for name, n in steps.items()]))
    assert "20 steps" in group.boards[0].protocol
    (group,) = groups(assemble([made("alpha", 0.5, steps=20), made("beta", 0.5, steps=10)]))
    assert not any("steps" in setting for setting in group.boards[0].protocol)


def test_ranges_of_ranks_sort_by_their_best_then_their_worst():
    shown = many(3)
    (board,) = shown.boards
    ranks = [(1, 1), (2, 3), (2, 2)]
    entries = [
        replace(entry, ranks=type(entry.ranks)(*pair))
        for entry, pair in zip(board.entries, ranks, strict=True)
    ]
    entries.append(replace(entries[0], id="last", ranks=None, unranked="incomplete"))
    (group,) = groups(replace(shown, boards=(replace(board, entries=tuple(entries)),)))
    orders = [row.cells[0].order for row in group.boards[0].measured.rows]
    assert orders[0] < orders[2] < orders[1] < orders[3]


def test_plots_hold_what_the_board_says():
    board = assemble([made("alpha", 0.9), made("beta", 0.5)]).boards[0]
    first = by_task(board)["series"][0]
    score = board.entries[0].score
    assert first["name"] == "alpha"
    assert first["points"][0] == [score.score, *score.interval]
    assert by_task(many(30).boards[0])["left_out"] == 22
    pair = against([board])
    assert pair["first"] == (0, 1)
    assert [metric["title"] for metric in pair["metrics"]] == ["quiz: judge", "quiz: second"]
    assert against([replace(board, metrics=())]) is None


def test_the_command_writes_a_page_and_prints_where(tmp_path, runs):
    with_pictures(made("alpha", 0.9), tmp_path / "results")
    arguments = ["build", str(tmp_path / "results"), "--runs", str(tmp_path / "runs"), "--out"]
    done = CliRunner().invoke(command, [*arguments, str(tmp_path / "page")])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'page' / 'index.html'}\n")
    assert "first" in (tmp_path / "page" / "index.html").read_text("utf-8")
    refused = CliRunner().invoke(command, ["build", "--out", str(tmp_path / "page")])
    assert refused.exit_code == 2 and "--published" in refused.stderr


def test_runs_alone_make_a_page_of_curves(tmp_path, runs):
    arguments = ["build", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]
    done = CliRunner().invoke(command, [*arguments, "--title", "A sweep & more"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "<h1>A sweep &amp; more</h1>" in text and "<title>A sweep &amp; more</title>" in text
    assert 'data-plot="training"' in text and "There is no result yet" not in text
    refused = CliRunner().invoke(command, [*arguments, "--benchmark", "quiz"])
    assert refused.exit_code == 2 and "--benchmark" in refused.stderr


def test_papers_alone_make_a_page_too(tmp_path):
    done = CliRunner().invoke(command, ["build", "--published", "--out", str(tmp_path / "page")])
    assert done.exit_code == 0
    assert "not measured here" in (tmp_path / "page" / "index.html").read_text("utf-8")


def test_a_file_is_no_folder(tmp_path, three):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        build(three, tmp_path / "file")


def test_models_stand_across_benchmarks(page_of):
    results = [
        made(name, score, benchmark=benchmark)
        for benchmark in ("quiz", "exam")
        for name, score in (("alpha", 0.9), ("beta", 0.5))
    ]
    text = page_of(assemble(results)).read_text("utf-8")
    (table,) = re.findall(r'<table class="grid" data-label="Across.*?</table>', text, re.S)
    assert re.findall(r'<th scope="row">(\w+)', table) == ["alpha", "beta"]
