"""No name, prompt or error steers the terminal it is shown on."""

import ast
import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import picture, pil
from rich.table import Table
from rich.text import Text

from rewardkit.cli import main
from rewardkit.cli.tables import console
from rewardkit.cli.terminal import LogHandler, shown

ROOT = Path(__file__).parents[3]
EVIL = "\x1b[2J\x1b]0;owned\x07\u202egnp\x9b31m\x7f\r"


def steers(text: str) -> bool:
    """Whether a terminal would do anything but show it."""
    return any(
        (ord(sign) < 32 and sign not in "\n\t") or 0x7F <= ord(sign) < 0xA0 or sign == "\u202e"
        for sign in text
    )


@settings(derandomize=True, max_examples=200)
@given(st.text())
def test_what_is_shown_steers_nothing_and_keeps_all_other_text(text):
    assert not steers(shown(text))
    assert shown(shown(text)) == shown(text)
    if not steers(text) and text.isascii():
        assert shown(text) == text


def test_a_control_character_is_shown_by_its_code():
    assert shown(EVIL) == ("\\x1b[2J\\x1b]0;owned\\x07\\u202egnp\\u009b31m\\u007f\\x0d")


def test_json_stays_json():
    text = json.dumps({EVIL: EVIL}, ensure_ascii=False)
    assert json.loads(shown(text)) == {EVIL: EVIL}


def test_tables_show_control_characters_in_columns_wide_enough(capsys):
    table = Table("name")
    table.add_row(EVIL)
    table.add_row(Text(shown(EVIL)))
    console().print(table, markup=False)
    out = capsys.readouterr().out
    assert not steers(out) and out.count("owned\\x07\\u202egnp") == 2


def test_text_that_nobody_escaped_is_escaped_on_the_way_out(capsys):
    console().print(Text(EVIL))
    assert not steers(capsys.readouterr().out)


def test_log_records_are_shown_too(capsys):
    record = logging.LogRecord("x", logging.WARNING, "", 0, f"left out: {EVIL}", None, None)
    LogHandler().emit(record)
    err = capsys.readouterr().err
    assert err.startswith("WARNING: left out: ") and not steers(err)


def test_score_shows_names_and_reasons_escaped_and_stores_them_exactly(tmp_path):
    name = EVIL.replace("\r", "")
    pil(picture(1, 16, 16)).save(tmp_path / f"{name}.png")
    (tmp_path / f"b{name}.png").write_bytes(b"no picture")
    (tmp_path / f"c{name}.other").touch()
    done = CliRunner().invoke(main, ["score", str(tmp_path), "-r", "sharpness"])
    assert done.exit_code == 1
    assert "owned" in done.stdout and "owned" in done.stderr
    assert not steers(done.stdout) and not steers(done.stderr)
    asked = ["score", str(tmp_path), "-r", "sharpness", "--json"]
    rows = [json.loads(line) for line in CliRunner().invoke(main, asked).stdout.splitlines()]
    assert name in {row["id"] for row in rows}


def test_a_wrong_request_is_told_escaped():
    done = CliRunner().invoke(main, ["score", "x", "-r", f"no{EVIL}"])
    assert done.exit_code == 2 and not steers(done.stderr)


COMMANDS = sorted(
    path
    for package in ("rewardkit/cli", "grpo", "benchmarks", "leaderboards")
    for path in (ROOT / package).rglob("*.py")
    if path.name not in {"terminal.py", "console.py"}
)


@pytest.mark.parametrize("source", COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_print_through_one_place(source):
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"click.echo", "click.secho", "print", "Console", "rich.print"}, (
                f"line {node.lineno}: rewardkit.cli.terminal.echo and tables.console escape"
            )
