"""VideoGen-RewardBench is read as published, and accuracies are those of its pairs by hand."""

import csv
import os
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks.preferences.question import Question
from benchmarks.preferences.results import PreferenceResult
from benchmarks.preferences.sets import SETS, preference_set
from rewardkit.cli import main
from rewardkit.errors import InputError
from rewardkit.media.batch import Clip
from rewardkit.media.clips import write_clip

COLUMNS = ("path_A", "path_B", "A_model", "B_model", "prompt", "VQ", "MQ", "TA", "Overall")
BALL = "Static camera, a metal ball rolls."
# Of five clips, 0 flickers the least and 4 the most. Overall and VQ of each pair:
PAIRS = (
    (BALL, 0, 1, "A", "B"),  # the stabler one, as temporal-stability says
    (BALL, 0, 4, "B", "B"),  # not as it says, and by far
    (BALL, 2, 1, "B", "same"),
    (BALL, 3, 3, "same", ""),  # one clip under two names: a tie of the reward too
    ("a cat", 2, 3, "same", "A"),
    ("a cat", 3, 4, "A", "A"),
)
LEVELS = (0, 20, 60, 64, 104)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The clips, and the table beside them."""
    made = tmp_path_factory.mktemp("set")
    (made / "videos").mkdir()
    for number, level in enumerate(LEVELS):
        frames = torch.full((6, 3, 32, 32), 100, dtype=torch.uint8)
        frames[1::2] += level
        write_clip(Clip(frames, 8.0), made / "videos" / f"{number}.mp4")
    (made / "videos" / "3-again.mp4").write_bytes((made / "videos" / "3.mp4").read_bytes())
    with (made / "table.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for prompt, first, second, overall, quality in PAIRS:
            other = f"{second}-again" if first == second else second
            clips = (f"videos/{first}.mp4", f"./videos/{other}.mp4")
            table.writerow((*clips, "x", "y", prompt, quality, "A", "B", overall))
    return made


def read(name, folder, table=None):
    return preference_set(name, folder, table or folder / "table.csv").read(folder / "unused")


def test_labels_are_rankings_of_two_clips(folder):
    found = read("videogen-rewardbench", folder)
    assert (found.kind, found.folder, found.missing) == ("video", folder, 0)
    assert found.questions[:2] == [
        Question(BALL, ("videos/0.mp4", "videos/1.mp4"), (1.0, 2.0)),
        Question(BALL, ("videos/0.mp4", "videos/4.mp4"), (2.0, 1.0)),
    ]
    assert found.questions[4].ranking == (1.0, 1.0) and len(found.questions) == 6


def test_each_question_is_a_set_and_a_pair_without_a_label_is_left_out(folder):
    rankings = {
        name: [question.ranking for question in read(name, folder).questions]
        for name in SETS
        if name.startswith("videogen-rewardbench")
    }
    assert {name.rpartition("bench")[2]: len(found) for name, found in rankings.items()} == {
        "": 6,
        ".vq": 5,
        ".mq": 6,
        ".ta": 6,
    }
    assert rankings["videogen-rewardbench.vq"][:3] == [(2, 1), (2, 1), (1, 1)]
    assert set(rankings["videogen-rewardbench.mq"]) == {(1, 2)}
    assert set(rankings["videogen-rewardbench.ta"]) == {(2, 1)}


def test_accuracies_are_those_of_the_pairs_by_hand(folder, tmp_path):
    rewards = ("-r", "temporal-stability+dynamic-degree", "-o", str(tmp_path))
    files = ("--media", str(folder), "--weights", f"videogen-rewardbench={folder / 'table.csv'}")
    done = CliRunner().invoke(
        main, ["bench", "preferences", "videogen-rewardbench", *rewards, *files]
    )
    assert done.exit_code == 0, done.output
    (path,) = tmp_path.glob("preferences.videogen-rewardbench.*y-dynamic-degree.json")
    result = PreferenceResult.model_validate_json(path.read_text("utf-8"))
    # Of BALL 0, 1, 2, 3, 3-again and 4 are shown, of the cat 2, 3, 4.
    assert result.complete and result.n_expected == result.n_scored == 9
    assert (result.set.pairs, result.set.ties) == (6, 2)
    found = result.agreement["temporal-stability"]
    # People tell four pairs apart, and the second one the other way round.
    assert (found.accuracy.score, found.accuracy.n) == (3 / 4, 4)
    assert found.ties_as_wrong.score == 3 / 4
    # Flicker differs by 20, 104, 40, 0, 4 and 40 levels; up to 4 are ties, which is right twice.
    assert found.with_ties.score == 5 / 6
    assert 255 * found.epsilon == pytest.approx(4, abs=1.5)  # levels that a codec rounds


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("prompt,path_A,path_B,Overall\na,x,y,C", "Overall is A, B or same; given: 'C'"),
        ("prompt,path_A,path_B,Overall\na,../x,y,A", "stay below the folder .* given: '../x'"),
        ("prompt,path_A,path_B,Overall\na,x,/etc/y,A", "stay below the folder .* given: '/etc/y'"),
        ("prompt,path_A,Overall\na,x,A", "a row has a prompt, path_A and path_B"),
        ("prompt,path_A,path_B,VQ\na,x,y,A", "no label in the column Overall"),
    ],
)
def test_another_table_is_refused(lines, said, tmp_path):
    (tmp_path / "table.csv").write_text(lines, "utf-8")
    with pytest.raises(InputError, match=said):
        read("videogen-rewardbench", tmp_path)


@pytest.mark.data
def test_the_table_that_videoalign_is_trained_on_is_read(tmp_path):
    folder = Path(os.environ["REWARDKIT_TEST_DATA"], "videoalign")
    found = read("videogen-rewardbench.vq", folder, folder / "example.csv")
    assert found.questions[0].media == ("videos/example_1_A.mp4", "videos/example_1_B.mp4")
    assert [question.ranking for question in found.questions[:3]] == [(2, 1), (1, 1), (1, 2)]
