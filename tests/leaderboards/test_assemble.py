"""Results become boards: what is comparable side by side, what is not apart or marked."""

from dataclasses import replace
from itertools import permutations

import pytest
from made_results import METRIC, made, write

from benchmarks.results import Result
from leaderboards.assemble import assemble, leaderboard
from leaderboards.published import published
from leaderboards.tables import tables
from rewardkit.errors import InputError, UsageError

GOOD, FAIR, BAD = 0.9, 0.5, 0.1


def the_board(*loaded):
    (board,) = assemble(loaded).boards
    return board


def with_changed(loaded, **changed):
    fields = {**loaded.result.model_dump(), **changed}
    return replace(loaded, result=Result.model_validate(fields))


def by_label(board):
    return {entry.label: entry for entry in board.entries}


def test_a_board_says_what_was_measured():
    board = the_board(made("alpha", FAIR), made("beta", GOOD))
    assert (board.benchmark, board.version, board.metric) == ("quiz", "1", METRIC)
    assert (board.task, board.unit, board.scale) == ("text-to-image", "points", 1.0)
    assert (board.tasks, board.metrics) == (("colors", "counting"), ("second",))
    assert (board.prompts, board.variant) == (24, None)
    best, second = board.entries
    assert (best.model, best.ranks, second.ranks) == ("beta", (1, 1), (2, 2))
    assert best.score.score == pytest.approx(0.91)
    assert best.tasks["colors"].n == 24
    assert best.metrics["second"].score == pytest.approx(0.455)
    assert best.protocol["size"] == "512x512"
    assert best.result is not None and best.measured


def test_boards_do_not_depend_on_the_order_of_results():
    results = [
        made("alpha", FAIR),
        made("beta", GOOD),
        made("alpha", BAD, steps=50),
        made("b/c", BAD, folder="one"),
        made("b c", BAD, folder="two"),
    ]
    first, *others = [assemble(order) for order in permutations(results)]
    assert all(other == first for other in others)


def test_an_incomplete_result_never_ranks():
    partly = made("partial", lambda task, index, sample: None if index == 3 else 99.0)
    board = the_board(partly, made("alpha", FAIR), made("beta", BAD))
    entry = by_label(board)["partial"]
    assert entry.ranks is None
    assert entry.unranked == "incomplete: 46 of 48 pictures"
    assert board.entries[-1] is entry
    assert [entry.ranks for entry in board.ranked] == [(1, 1), (2, 2)]


def test_a_shard_never_ranks():
    board = the_board(made("part", 9.0, shard="1/2"), made("alpha", FAIR))
    assert by_label(board)["part"].unranked == "shard 1/2, to be merged"


def test_a_result_without_its_rows_is_shown_and_does_not_rank():
    board = the_board(made("alpha", GOOD, rows=False), made("beta", FAIR))
    entry = by_label(board)["alpha"]
    assert entry.score.score == pytest.approx(0.91)
    assert entry.ranks is None
    assert entry.unranked == "its rows are not there: alpha.quiz.csv"


def test_rows_of_another_result_do_not_rank_it():
    other = made("alpha", GOOD)
    half = {id: row for id, row in other.rows.items() if id.endswith("-00")}
    board = the_board(type(other)(other.path, other.result, half), made("beta", FAIR))
    assert "does not hold" in by_label(board)["alpha"].unranked


@pytest.mark.parametrize(
    ("changed", "variant"),
    [
        ({"prompts": {"source": "a list", "sha256": "c" * 64, "number": 24}}, "cccccccccccc"),
        ({"rewards": {METRIC: {"sha256 of judge": "d" * 64}, "second": {}}}, "dddddddddddd"),
    ],
)
def test_other_prompts_or_weights_of_a_reward_are_another_board(changed, variant):
    usual = [made("alpha", FAIR), made("beta", BAD)]
    other = with_changed(made("gamma", GOOD), **changed)
    row = published()[0].model_copy(update={"benchmark": "quiz", "metric": METRIC})
    boards = assemble([*usual, other], [row]).boards
    main, apart = sorted(boards, key=lambda board: board.variant or "")
    assert (len(main.published), len(apart.published)) == (1, 0)
    assert [entry.model for entry in main.entries] == ["alpha", "beta"]
    assert main.variant is None
    assert [entry.ranks for entry in main.entries] == [(1, 1), (2, 2)]
    assert [entry.model for entry in apart.entries] == ["gamma"]
    assert apart.variant.endswith(variant)
    assert main.id != apart.id
    assert main.notes == ()
    assert variant in apart.notes[0] and "not comparable" in apart.notes[0]


def test_another_version_is_another_board():
    new = made("gamma", GOOD)
    info = new.result.benchmark.model_copy(update={"version": "2"})
    new = with_changed(new, benchmark=info)
    boards = assemble([made("alpha", FAIR), made("beta", BAD), new]).boards
    assert {board.variant for board in boards} == {None, "version 2"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 50}, ("steps", "50")),
        ({"guidance": 7.0}, ("guidance", "7.0")),
        ({"width": 1024}, ("size", "1024x512")),
        ({"seed": 1}, ("seed", "1")),
        ({"samples": 3}, ("samples", "3")),
        ({"dtype": "float16"}, ("dtype", "float16")),
        ({"scheduler": {"class": "Euler"}}, ("scheduler", "Euler")),
        (
            {"scheduler": {"class": "DDIMScheduler", "steps_offset": 0}},
            ("scheduler steps offset", "0"),
        ),
    ],
)
def test_what_was_made_otherwise_ranks_and_is_marked(changed, message):
    board = the_board(made("alpha", FAIR), made("beta", GOOD), made("gamma", BAD, **changed))
    marks = {entry.label: entry.differs for entry in board.entries}
    assert marks == {"alpha": (), "beta": (), "gamma": (message,)}
    assert by_label(board)["gamma"].ranks == (3, 3)


def test_what_most_do_not_share_is_marked_on_both_of_two():
    board = the_board(made("alpha", FAIR), made("beta", GOOD, steps=50))
    assert [entry.differs for entry in board.entries] == [(("steps", "50"),), (("steps", "20"),)]


def test_of_a_model_with_a_name_here_its_own_settings_are_usual_where_none_is_commonest():
    flow = {"alias": "shapes-flow"}  # which is sampled in 20 steps
    board = the_board(
        made("alpha", FAIR, model=flow, steps=20),
        made("beta", GOOD, model=flow, steps=10),
        made("gamma", BAD, model=flow, steps=6),
    )
    marks = {entry.label: entry.differs for entry in board.entries}
    assert marks == {"alpha": (), "beta": (("steps", "10"),), "gamma": (("steps", "6"),)}


def test_pictures_from_elsewhere_are_marked_as_unknown():
    elsewhere = made("gamma", BAD, sampling=None, scheduler=None, dtype=None, seed=None, batch=None)
    board = the_board(made("alpha", FAIR), made("beta", GOOD), elsewhere)
    differs = by_label(board)["gamma"].differs
    assert {difference.setting for difference in differs} == {
        "seed", "steps", "guidance", "size", "scheduler", "dtype",
    }  # fmt: skip
    assert {difference.value for difference in differs} == {"unknown"}


def test_settings_of_schedulers_are_compared_within_their_class():
    euler = {"class": "Euler", "steps_offset": 0}
    board = the_board(made("alpha", FAIR), made("beta", GOOD), made("gamma", BAD, scheduler=euler))
    assert by_label(board)["gamma"].differs == (("scheduler", "Euler"),)


def test_a_batch_is_no_mark():
    board = the_board(made("alpha", FAIR), made("beta", GOOD), made("gamma", BAD, batch=1))
    assert not by_label(board)["gamma"].differs


@pytest.mark.parametrize(
    ("spec", "metrics"),
    [
        (METRIC, (METRIC,)),
        (f"0.7*{METRIC}+1e-3*other", (METRIC,)),
        (f"other+{METRIC}@0.3", (METRIC,)),
        ("second", ("second",)),
        (f"{METRIC}-2023", ()),
        (f"not-{METRIC}", ()),
        (None, ()),
    ],
)
def test_a_model_trained_on_a_metric_is_marked(spec, metrics):
    trained = {"reward": spec} if spec else None
    board = the_board(made("alpha", GOOD, model={"trained_on": trained}), made("beta", FAIR))
    entry = by_label(board)["alpha"]
    assert entry.trained_on == spec
    assert entry.trained_metrics == metrics


def test_namesakes_are_told_apart_by_what_differs():
    board = the_board(made("alpha", FAIR), made("alpha", GOOD, steps=50), made("beta", BAD))
    assert set(by_label(board)) == {"alpha (steps 20)", "alpha (steps 50)", "beta"}
    other = the_board(made("alpha", FAIR), made("alpha", GOOD, model={"lora": "run"}))
    assert set(by_label(other)) == {"alpha (LoRA unknown)", "alpha (LoRA run)"}


def test_ids_are_distinct_and_fit_file_names():
    names = ["a b", "a/b", "A-b", "<b>"]
    board = the_board(
        *[made(name, 0.1 * place, folder=str(place)) for place, name in enumerate(names)]
    )
    ids = [entry.id for entry in board.entries]
    assert len({id.casefold() for id in ids}) == len(ids)
    assert all(set(id) <= set("abcdefghijklmnopqrstuvwxyzA.-_0123456789") for id in ids)


def test_standings_need_two_boards():
    models = [made("alpha", GOOD), made("beta", FAIR)]
    assert assemble(models).standings == ()
    trained = {"trained_on": {"reward": METRIC}}
    both = [
        *models,
        made("alpha", GOOD, benchmark="exam", model=trained),
        made("beta", FAIR, benchmark="exam"),
        made("gamma", FAIR, benchmark="exam"),
    ]
    (standing,) = assemble(both).standings
    assert [row.model for row in standing.rows] == ["alpha", "beta"]
    assert standing.rows[0].mean_rank == 1
    assert standing.rows[0].win_rate == 1
    assert standing.rows[0].trained_metrics == (METRIC,)
    assert list(standing.absent) == ["gamma"]


def test_variants_of_a_benchmark_do_not_count_twice():
    usual = [made("alpha", GOOD), made("beta", FAIR), made("gamma", BAD)]
    others = [
        with_changed(loaded, prompts={"source": "a list", "sha256": "c" * 64, "number": 24})
        for loaded in usual[:2]
    ]
    shown = assemble([*usual, *others])
    assert len(shown.boards) == 2
    assert shown.standings == ()


def test_where_prompts_were_read_from_makes_no_board():
    moved = made("beta", GOOD)
    prompts = moved.result.prompts.model_copy(update={"source": "elsewhere"})
    assert len(the_board(made("alpha"), with_changed(moved, prompts=prompts)).entries) == 2


def test_published_rows_stand_apart_and_never_rank():
    row = next(row for row in published() if row.tasks and row.evidence == "read")
    row = row.model_copy(update={"benchmark": "quiz", "metric": METRIC})
    (board,) = assemble([made("alpha", BAD), made("beta", GOOD)], [row]).boards
    assert [entry.model for entry in board.entries] == ["beta", "alpha"]
    (entry,) = board.published
    assert not entry.measured
    assert entry.ranks is None
    assert entry.published is row
    measured, printed = tables(assemble([made("alpha", BAD)], [row]))
    assert (measured.kind, printed.kind) == ("measured", "published")
    assert row.model not in {cell.text for line in measured.rows for cell in line}
    assert "not measured here" in printed.about
    assert row.source in {cell.text for line in printed.rows for cell in line}


def test_published_rows_of_another_benchmark_are_boards_of_their_own():
    shown = assemble([made("alpha")], published())
    assert {board.task for board in shown.boards} == {"text-to-image", "text-to-video"}
    assert [board.task for board in shown.boards][-1] == "text-to-video"
    assert all(board.published for board in shown.boards if board.benchmark != "quiz")


def test_published_rows_are_shown_only_when_asked_for(tmp_path):
    write(made("alpha"), tmp_path)
    assert not any(board.published for board in leaderboard([tmp_path]).boards)
    assert any(board.published for board in leaderboard([tmp_path], with_published=True).boards)


def test_only_the_benchmarks_that_are_asked_for(tmp_path):
    write(made("alpha"), tmp_path)
    write(made("alpha", benchmark="exam"), tmp_path)
    (board,) = leaderboard([tmp_path], benchmarks=["exam"]).boards
    assert board.benchmark == "exam"
    with pytest.raises(UsageError, match="Did you mean 'exam'"):
        leaderboard([tmp_path], benchmarks=["exams"])


def test_a_folder_without_results_is_told(tmp_path):
    with pytest.raises(InputError, match="no result of `rewardkit bench` below"):
        leaderboard([tmp_path])
