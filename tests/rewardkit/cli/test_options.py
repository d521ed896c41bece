"""Options given twice: what adds up is added, the rest is refused, whatever the command."""

import click
import pytest
from click.testing import CliRunner

from benchmarks.cli import bench
from grpo.cli import main as grpo
from leaderboards.cli import leaderboard
from rewardkit.cli import main
from rewardkit.cli.options import reward_option

GROUPS = {"rewardkit": main, "bench": bench, "leaderboard": leaderboard, "grpo": grpo}

SCORE_AT = ["score", "gone", "-r", "x", "--fps"]


def commands():
    for group in GROUPS.values():
        context = click.Context(group, info_name=group.name)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if not isinstance(command, click.Group):
                yield pytest.param(group, name, command, id=f"{group.name} {name}")


@pytest.mark.parametrize(("group", "name", "command"), [*commands()])
def test_no_command_takes_the_last_of_two_in_silence(group, name, command):
    for option in command.params:
        if isinstance(option, click.Option) and not (option.is_flag or option.multiple):
            twice = [option.opts[-1], "1", option.opts[0], "2"]
            result = CliRunner().invoke(group, [name, *twice])
            assert result.exit_code == 2, option.opts
            assert f"{max(option.opts, key=len)} is given 2 times" in result.stderr


@click.command()
@reward_option(required=True)
def rewards(rewards):
    click.echo(rewards)


def test_rewards_given_twice_are_added():
    run = CliRunner().invoke
    assert run(rewards, ["-r", "a", "--reward", "0.5*b+c"]).stdout == "a+0.5*b+c\n"
    assert run(rewards, ["-r", "a"]).stdout == "a\n"
    assert "Missing option '-r'" in run(rewards, []).stderr


# Such as -r "$REWARD" of a variable that is not set.
def test_an_empty_reward_is_refused_as_a_spec(tmp_path):
    result = CliRunner().invoke(main, ["score", str(tmp_path), "-r", ""])
    assert result.exit_code == 2 and "a reward name is missing here" in result.stderr


@pytest.mark.parametrize("command", [["threshold", __file__, "x", "--percentile"], SCORE_AT])
def test_a_number_that_is_none_is_wrong_usage(command):
    for number in ("nan", "inf"):
        result = CliRunner().invoke(main, [*command, number])
        assert result.exit_code == 2 and "Invalid value" in result.stderr


def test_flags_and_lists_may_come_twice():
    arguments = ["--benchmark", "a", "--benchmark", "b", "gone"]
    assert "given" not in CliRunner().invoke(leaderboard, ["table", *arguments]).stderr
    assert (
        "given"
        not in CliRunner().invoke(main, ["score", "gone", "-r", "x", "--json", "--json"]).stderr
    )


def test_what_the_command_itself_refuses_is_told_by_it():
    result = CliRunner().invoke(main, ["compare", "--nonsense"])
    assert "No such option" in result.stderr and "compare" in result.stderr
