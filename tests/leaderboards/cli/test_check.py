"""`rewardkit leaderboard check`: committed tables match the results."""

import pytest
from click.testing import CliRunner
from made_results import made, write

from leaderboards.cli import leaderboard

PAGE = """# Models

<!-- leaderboard: results --columns rank,model,score -->
<!-- end of leaderboard -->

The end.
"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(made("alpha", 0.5), tmp_path / "docs" / "results")
    path = tmp_path / "docs" / "page.md"
    path.write_text(PAGE)
    return path


def run(*args):
    return CliRunner().invoke(leaderboard, ["check", *map(str, args)])


def test_a_table_that_is_not_there_is_stale_until_it_is_written(page):
    done = run(page)
    assert done.exit_code == 1
    assert done.stdout == f"{page}, line 3: does not match the results\n"
    assert "1 of 1 tables are stale" in done.stderr
    assert page.read_text() == PAGE
    assert run(page, "--write").exit_code == 0
    assert "| 1 | alpha | 0.510" in page.read_text()
    assert page.read_text().endswith("The end.\n")
    assert run(page).exit_code == 0
    assert run(page).stdout == ""


def test_new_results_and_edits_make_a_table_stale(page):
    run(page, "--write")
    good = page.read_text()
    page.write_text(good.replace("0.510", "0.910"))
    assert run(page).exit_code == 1
    page.write_text(good)
    write(made("beta", 0.9), page.parent / "results")
    assert run(page).exit_code == 1


def test_without_files_those_here_and_below_docs_are_checked(page):
    done = run()
    assert done.exit_code == 1
    assert "docs/page.md, line 3" in done.stdout
    page.write_text("# nothing\n")
    assert "no Markdown file here" in run().stderr


def test_a_file_that_is_named_must_hold_a_table(page):
    page.write_text("# nothing\n")
    done = run(page)
    assert done.exit_code == 1
    assert "holds no table" in done.stderr


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ("results --colums rank", "not a valid request"),
        ("'results", "No closing quotation"),
        ("nowhere", "there is no"),
        ("results --help", "No such option"),
        ("results --benchmark exam", "unknown benchmark"),
    ],
)
def test_a_block_that_asks_wrongly_is_named(page, request_, text):
    page.write_text(PAGE.replace("results --columns rank,model,score", request_))
    done = run(page)
    assert done.exit_code == 1
    assert text in done.stderr
    assert "page.md, line 3" in done.stderr


def test_help_shows_the_two_lines_as_they_are_written():
    lines = run("--help").stdout.splitlines()
    assert "    <!-- leaderboard: results/ --benchmark shapes -->" in lines
    assert "    <!-- end of leaderboard -->" in lines
