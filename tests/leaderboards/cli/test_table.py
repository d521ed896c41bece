"""`rewardkit leaderboard table`: tables on stdout, notes and errors on stderr."""

import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from made_results import made, write

from leaderboards.cli import leaderboard


@pytest.fixture
def results(tmp_path):
    write(made("alpha", 0.5), tmp_path)
    write(made("beta", 0.9), tmp_path)
    return tmp_path


def run(*args):
    return CliRunner().invoke(leaderboard, ["table", *map(str, args)])


def test_markdown_is_the_default(results):
    done = run(results)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "| 1 | beta |" in done.stdout
    assert run(results, "--format", "md").stdout == done.stdout


def test_csv_json_and_latex(results):
    rows = list(csv.DictReader(io.StringIO(run(results, "--format", "csv").stdout)))
    assert [row["model"] for row in rows] == ["beta", "alpha"]
    (table,) = json.loads(run(results, "--format", "json").stdout)["tables"]
    assert [row["model"] for row in table["rows"]] == ["beta", "alpha"]
    assert r"\toprule" in run(results, "--format", "latex").stdout


def test_columns(results):
    done = run(results, "--columns", "model, counting")
    assert "| model | counting |" in done.stdout


def test_only_one_benchmark(results):
    write(made("alpha", benchmark="exam"), results)
    assert "**quiz**" not in run(results, "--benchmark", "exam").stdout
    assert "**quiz**" in run(results, "--benchmark", "exam", "--benchmark", "quiz").stdout


def test_published_numbers_only_when_asked_for(results):
    assert "published" not in run(results).stdout
    done = run(results, "--published")
    assert "published, not measured here" in done.stdout
    assert "**quiz**" in done.stdout
    assert "SD 1.5" in run("--published", "--benchmark", "geneval").stdout


def test_across_benchmarks(results):
    done = run(results, "--across")
    assert done.exit_code == 1
    assert "2 on quiz" in done.stderr
    write(made("alpha", 0.5, benchmark="exam"), results)
    write(made("beta", 0.9, benchmark="exam"), results)
    assert "| beta | 1.00 |" in run(results, "--across").stdout
    assert run(results, "--across", "--columns", "rank").exit_code == 2


def test_what_was_left_out_is_told_on_stderr(results):
    (results / "other.json").write_text("{}")
    done = run(results)
    assert done.exit_code == 0
    assert done.stderr.startswith("Note: 1 JSON file is no result")
    assert "Note" not in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ((), 2, "name folders of results, or give --published"),
        (("nowhere",), 1, "there is no nowhere"),
        (("RESULTS", "--columns", "scroe"), 2, "Did you mean 'score'?"),
        (("RESULTS", "--benchmark", "quizz"), 2, "Did you mean 'quiz'?"),
        (("RESULTS", "--format", "html"), 2, "'md', 'csv', 'latex', 'json'"),
    ],
)
def test_wrong_requests(results, args, code, text):
    done = run(*[results if argument == "RESULTS" else argument for argument in args])
    assert (done.exit_code, done.stdout) == (code, "")
    assert text in done.stderr


def test_help_names_the_columns_and_formats_there_are():
    from leaderboards.render import FORMATS
    from leaderboards.tables import COLUMNS

    text = " ".join(run("--help").stdout.split())
    assert f"Columns to show: {', '.join(COLUMNS)}, and the names" in text
    assert f"[{'|'.join(FORMATS)}]" in text


@pytest.mark.parametrize("code", ["", "['table', '--help']", "['check', '--help']"])
def test_looking_loads_nothing_heavy(code):
    call = f"import leaderboards.cli as cli; cli.leaderboard({code}, standalone_mode=False)"
    program = f"import sys\n{call if code else 'import leaderboards.board'}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "scipy", "pandas", "pyarrow", "transformers"}
