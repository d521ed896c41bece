"""Documents are true: what is generated is up to date, and every command line in them parses."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from grpo.cli import main as grpo
from rewardkit.cli import main
from rewardkit.errors import UsageError

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "Makefile", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = {"rewardkit": main, "grpo": grpo}
# In a block of code at the beginning of a line, or a whole `span` with at least one argument.
LINE = re.compile(r"^\s*(?:\$ |\.venv/bin/|\$\(BIN\)/)?((?:rewardkit|grpo) \S.*)$")
SPAN = re.compile(r"`((?:rewardkit|grpo) [\w-][^`]*)`")


def documents():
    path = ROOT / "docs" / "write.py"
    spec = importlib.util.spec_from_file_location("write_documents", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_help_says():
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert page == documents().commands(), "run: make docs"


def test_the_readmes_leaderboard_is_what_its_results_say():
    shown = CliRunner().invoke(main, ["leaderboard", "check", str(ROOT / "README.md")])
    assert shown.exit_code == 0, shown.output


def test_the_readmes_table_is_what_the_cards_say():
    assert (ROOT / "README.md").read_text("utf-8") == documents().readme(), "run: make docs"


def command_lines(text):
    """Every command line of a document, and whether it stands by itself or in a sentence."""
    code = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            code = not code
        elif (found := LINE.match(line)) and (code or line.startswith("\t")):  # the Makefile's
            yield found[1], False
        if not code:
            yield from ((span, True) for span in SPAN.findall(line))


def parsed(line, in_sentence=False):
    """Parses a command line with the real parsers, and runs nothing.

    In a sentence a command may be named without its arguments.

    Raises:
        click.UsageError: an option is unknown, or an argument is missing.
        UsageError: a command is unknown.
    """
    words = shlex.split(line, comments=True)
    ends = [words.index(word) for word in ("|", "&&", ">", "2>") if word in words]
    name, *arguments = words[: min(ends, default=None)]
    command = GROUPS[name]
    # A command remembers the options that its first context gives it, such as -h.
    context = click.Context(command, info_name=name, **command.context_settings)
    while isinstance(command, click.Group) and arguments and arguments != ["--help"]:
        name, command, arguments = command.resolve_command(context, arguments)
        context = click.Context(command, context, name)
    if arguments != ["--help"] and (arguments or not in_sentence):
        command.make_context(name, arguments, context.parent)


LINES = [
    (str(document), *found)
    for document in DOCUMENTS
    for found in command_lines((ROOT / document).read_text("utf-8"))
]


@pytest.fixture
def any_path(monkeypatch):
    """The files that documents name need not exist."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: Path(value))


def test_command_lines_are_found():
    lines = [line for _, line, _ in LINES]
    assert "rewardkit bench list" in lines
    assert len(lines) > 30
    assert {document for document, *_ in LINES} >= {"README.md", "Makefile"}


@pytest.mark.parametrize(("document", "line", "in_sentence"), LINES)
def test_every_command_line_in_the_documents_parses(any_path, document, line, in_sentence):
    try:
        parsed(line, in_sentence)
    except (click.UsageError, UsageError) as error:
        text = error.format_message() if isinstance(error, click.UsageError) else error
        pytest.fail(f"{document}: {line}: {text}")


@pytest.mark.parametrize(
    "line",
    [
        "rewardkit skore photos/",
        "rewardkit score photos/ -r clip --no-such-option",
        "rewardkit score photos/",
        "rewardkit bench compare one.json",
        "rewardkit generate shapes-flow -p a.txt -o out --samples none",
        "grpo train --model a --model b",
    ],
)
def test_a_command_line_that_would_fail_is_refused(any_path, line):
    with pytest.raises((click.UsageError, UsageError)):
        parsed(line)
