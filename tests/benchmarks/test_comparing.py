"""Two results are compared pair by pair, and only where they measure the same."""

import pytest
from tiny_benchmarks import CASES, TINY, changed, fill, result_of

from benchmarks.comparing import compare_results
from benchmarks.reading import read_result, read_table
from benchmarks.rows import place
from rewardkit.errors import InputError
from rewardkit.stats.clusters import compare


@pytest.fixture
def base(folder, tmp_path):
    return result_of(folder, tmp_path / "results", name="base")


@pytest.fixture
def other(tmp_path):
    return result_of(fill(tmp_path / "others", seed=40), tmp_path / "results", name="other")


def test_the_numbers_are_those_of_the_paired_test(base, other):
    found = compare_results(base, other)
    rows = [read_table(read_result(path), path).rows for path in (base, other)]
    places = [place(row.id) for row in rows[0]]
    for name in ("sharpness", "colorfulness"):
        before, after = ([10 * row.scores[name] for row in of] for of in rows)
        assert found.metrics[name] == compare(
            before, after, [place[1] for place in places], [place[0] for place in places], "tasks"
        )
    assert (found.pairs, found.left_out, found.warnings) == (14, 0, [])
    assert found.metrics["sharpness"].headline.before == pytest.approx(read_result(base).score)
    assert found.metrics["sharpness"].headline.after == pytest.approx(read_result(other).score)


def test_a_comparison_is_a_data_frame_of_numbers_and_their_parts(base, other):
    found = compare_results(base, other)
    frame = found.frame()
    metric = found.metrics["sharpness"]
    assert frame.loc[("sharpness", "all"), "difference"] == metric.headline.difference.mean
    assert frame.loc["sharpness"].index.tolist() == ["all", *metric.strata]


def test_a_result_is_no_better_than_itself(base):
    headline = compare_results(base, base).metrics["sharpness"].headline
    assert headline.difference.mean == 0 and headline.p_value == 1 and headline.ties == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmark": {"name": "big"}}, "benchmark.name"),
        ({"benchmark": {"version": "2"}}, "benchmark.version"),
        ({"prompts": {"sha256": "0" * 64}}, "prompts.sha256"),
        # The name of the file must not hide that its prompts are others.
        ({"prompts": {"sha256": "0" * 64, "source": "b.txt"}}, "prompts.sha256"),
        ({"rewards": {"sharpness": {"sha256 of x": "1"}}}, "rewards.sharpness"),
    ],
)
def test_results_that_measure_other_things_are_refused(changes, message, base, other):
    changed(other, **changes)
    with pytest.raises(InputError, match=f"do not measure the same: {message}"):
        compare_results(base, other)


def test_equal_prompts_of_another_file_are_compared(base, other):
    changed(other, prompts={"source": "elsewhere.txt"})
    assert compare_results(base, other).pairs == 14


def warned(base, other):
    return "\n".join(compare_results(base, other).warnings)


def test_another_protocol_is_warned_of(base, other):
    changed(other, protocol={"sampling": {"steps": 30}})
    assert "made with different settings: sampling is null of base" in warned(base, other)
    changed(base, protocol={"sampling": {"steps": 50}})
    assert "sampling.steps is 50 of base and 30 of other" in warned(base, other)


def test_all_that_was_made_otherwise_is_told(base, other):
    euler, ddim = {"class": "Euler", "shift": 1}, {"class": "DDIM", "offset": 0}
    changed(base, protocol={"sampling": {"steps": 50, "guidance": 1.0}, "scheduler": euler})
    changed(other, protocol={"sampling": {"steps": 30, "guidance": 2.0}, "scheduler": ddim})
    (warning,) = compare_results(base, other).warnings
    assert warning.partition("settings: ")[2].split("; ") == [
        "sampling.steps is 50 of base and 30 of other",
        "sampling.guidance is 1.0 of base and 2.0 of other",
        'scheduler.class is "Euler" of base and "DDIM" of other',
    ]


def test_the_size_of_batches_is_not_worth_a_warning(base, other):
    changed(other, protocol={"batch": 1})
    assert not warned(base, other)


def test_training_on_what_is_measured_is_warned_of(base, other):
    changed(other, model={"trained_on": {"reward": "0.5*clip.vit-l-14+1.0*sharpness@300.0"}})
    assert "other was trained on sharpness, which measures it here" in warned(base, other)
    changed(base, model={"trained_on": {"reward": "sharpness"}})
    assert "base was trained on sharpness" in warned(base, other)


@pytest.mark.parametrize(
    "trained_on", [{}, {"reward": None}, {"reward": "sharpness-2+x"}, {"reward": "my sharpness"}]
)
def test_training_on_anything_else_is_not(trained_on, base, other):
    changed(other, model={"trained_on": trained_on})
    assert not warned(base, other)


def test_an_incomplete_result_is_warned_of_and_its_pairs_compared(base, tmp_path):
    folder = fill(tmp_path / "others", seed=40)
    for name in ("00001-00", "00003-01", "00003-00"):
        (folder / f"{name}.png").unlink()
    part = result_of(folder, tmp_path / "results", name="part", allow_partial=True)
    found = compare_results(base, part)
    assert found.warnings == ["part is incomplete: 11 of 14 pictures"]
    assert (found.pairs, found.left_out) == (11, 3)
    assert found.metrics["sharpness"].strata["boxes"].difference.items == 1


def test_results_without_a_common_picture_are_refused(folder, tmp_path):
    parts = []
    for half, name in ((CASES[:3], "a"), (CASES[3:], "b")):
        fill(tmp_path / name, TINY, half)
        options = {"name": name, "allow_partial": True}
        parts.append(result_of(tmp_path / name, tmp_path / "results", **options))
    with pytest.raises(InputError, match="share no picture"):
        compare_results(*parts)
