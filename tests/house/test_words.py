"""Help texts are sentences of plain English: what an option or a command is, or what it does."""

import re

import click
import pytest

from grpo.cli import main as grpo
from rewardkit.cli import main as rewardkit

# No help text begins with one of these: a phrase begins with its noun or its verb.
NO_BEGINNING = {
    "as", "at", "by", "for", "from", "how", "in", "of", "on", "that", "to", "what", "when",
    "where", "whether", "which", "who", "whose", "why", "with",
}  # fmt: skip
RIDDLES = re.compile(r"\b(told|ours|theirs)\b", re.IGNORECASE)


def commands(command, context):
    """A command and all that it holds, with their contexts."""
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            yield from commands(found, click.Context(found, context, name))


def help_texts():
    """Where a help text stands -> the text, up to its first blank line."""
    for group in (rewardkit, grpo):
        # click keeps the help option that it makes first: others compare the page of commands.
        root = click.Context(group, info_name=group.name, help_option_names=["-h", "--help"])
        for context, command in commands(group, root):
            yield context.command_path, command.help
            for parameter in command.params:
                if isinstance(parameter, click.Option) and not parameter.hidden:
                    yield f"{context.command_path} {max(parameter.opts, key=len)}", parameter.help


def faults(text):
    """What is wrong with a help text."""
    if not text:
        return ["it has none"]
    sentence = " ".join(text.split("\n\n")[0].split())
    phrase = sentence.partition(" [default:")[0]
    words = re.findall(r"[\w'-]+", phrase)
    found = []
    if not phrase[:1].isupper():
        found.append("it does not begin with a capital letter")
    if not phrase.endswith((".", "?")):
        found.append("it does not end with a full stop")
    if len(words) < 2:
        found.append("it is one word")
    if words and words[0].casefold() in NO_BEGINNING:
        found.append(f"it begins with {words[0]}, not with its noun or verb")
    if riddle := RIDDLES.search(phrase):
        found.append(f"it says {riddle[0]}")
    return found


HELP = dict(help_texts())


def test_help_texts_are_found():
    assert {"rewardkit score", "rewardkit bench run --tuned", "grpo train --set"} <= HELP.keys()


@pytest.mark.parametrize("place", HELP)
def test_help_is_a_phrase_with_its_verb_or_noun_first(place):
    assert not faults(HELP[place]), f"{place}: {HELP[place]!r}"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "Of all randomness.",
        "What scores it.",
        "Whose pictures are shown.",
        "random seed.",
        "Random seed",
        "Seed.",
        "Number of rows that are told.",
    ],
)
def test_a_riddle_is_refused(text):
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "Random seed.",
        "Print JSON, in full precision.",
        "Number of inference steps.  [default: the model's]",
        "Compare two tables: is OTHER better than BASE?\n\nthe rest is not looked at",
    ],
)
def test_a_phrase_is_accepted(text):
    assert not faults(text)
