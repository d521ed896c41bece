"""A model of clips goes all the way by command: made, scored, compared, ranked, shown."""

import json
import re
import shlex

import pytest
import tiny_videos
from click.testing import CliRunner

from benchmarks.cli.run import run
from benchmarks.reading import read_result
from leaderboards.assemble import leaderboard
from leaderboards.page.command import command
from leaderboards.page.view import groups
from rewardkit.cli import main

SAMPLING = "--steps 2 --width 16 --height 16 --frames 5 --fps 8 --max-sequence-length 16"
PROMPTS = [
    {"prompt": "a ring moves", "tag": "objects"},
    {"prompt": "two boxes", "tag": "objects"},
    {"prompt": "the camera turns", "tag": "camera"},
]


def cli(*arguments):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of results of one tiny model with two scales of guidance."""
    home = tmp_path_factory.mktemp("clips")
    folder = tiny_videos.saved("wan", home)
    prompts = home / "motions.jsonl"
    prompts.write_text("".join(json.dumps(line) + "\n" for line in PROMPTS))
    for name, guidance in (("guided", 4), ("unguided", 1)):
        cli(
            "bench", "run", "video-prompts", "-p", prompts, "-r",
            "motion-smoothness+temporal-stability", "--model", folder, "--name", name,
            "--guidance", guidance, *SAMPLING.split(), "-o", home / "results" / name,
            "--device", "cpu",
        )  # fmt: skip
    return home / "results"


def test_a_run_makes_and_scores_clips_by_its_criteria(results):
    result = read_result(results / "guided" / "guided.video-prompts-motions.json")
    assert result.complete and result.n_scored == 3
    assert result.benchmark.task == "text-to-video"
    assert list(result.metrics) == ["motion-smoothness", "temporal-stability"]
    assert list(result.tasks) == ["objects", "camera"]
    assert (result.protocol.sampling["frames"], result.protocol.sampling["fps"]) == (5, 8)
    frame = result.frame()
    assert len(frame) == 3 and all(path.endswith(".mp4") for path in frame["path"])
    assert frame["motion-smoothness"].mean() == pytest.approx(result.score)


def test_the_command_of_its_row_makes_it_again(results):
    result = read_result(results / "guided" / "guided.video-prompts-motions.json")
    _, _, _, *words = shlex.split(" ".join(command(result)))
    options = run.make_context("run", words, help_option_names=["--help"]).params
    assert (options["frames"], options["fps"], options["guidance"]) == (5, 8.0, 4.0)


def test_results_of_clips_are_compared_by_prompt(results):
    paths = sorted(results.rglob("*.video-prompts-motions.json"))
    compared = json.loads(cli("bench", "compare", *paths, "--json").stdout)
    assert compared["clips"] == 3 and compared["metrics"].keys() == {
        "motion-smoothness",
        "temporal-stability",
    }


def test_the_page_has_a_board_of_clips_and_shows_them(results, tmp_path):
    (group,) = groups(leaderboard([results]))
    assert (group.name, group.noun) == ("T2V", "clip")
    assert "5 frames" in group.boards[0].protocol
    done = cli("leaderboard", "build", results, "-o", tmp_path / "page")
    assert "not shown" not in done.stderr
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert len(re.findall("<video ", page)) == 2 * 3
    assert {path.suffix for path in (tmp_path / "page" / "media").iterdir()} == {".mp4", ".png"}
    # Where only pictures are meant, nothing is said of clips.
    assert not re.search(
        r"\bpictures?\b", re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
    )
