import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from rewardkit.cli import main
from rewardkit.errors import InputError
from rewardkit.records.comparing import compare_tables
from rewardkit.records.rows import Row, Table, write_rows
from rewardkit.records.scorefile import meta_path
from rewardkit.records.storage import write_json
from rewardkit.stats.clusters import compare
from rewardkit.stats.intervals import Interval


def table(scores: dict[str, float | None], reward: str = "r") -> Table:
    rows = (Row(i, f"{i}.png", f"prompt {i}", {reward: score}) for i, score in scores.items())
    return Table(tuple(rows), (reward,), False)


def files(folder: Path, before: Table, after: Table) -> list[str]:
    paths = [str(folder / "before.csv"), str(folder / "after.parquet")]
    for path, found in zip(paths, (before, after), strict=True):
        write_rows(path, found.rows, found.rewards, found.with_total)
    return paths


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments], catch_exceptions=False)


def test_rows_are_paired_by_id_whatever_their_order():
    found = compare_tables(table({"a": 1, "b": 2, "x": 9}), table({"y": 9, "z": 9, "b": 4, "a": 3}))
    assert (found.pairs, found.rows_only_before, found.rows_only_after) == (2, 1, 2)
    compared = found.columns["r"].paired
    assert compared is not None
    # a: 1 -> 3 and b: 2 -> 4, so every difference is 2.
    assert (compared.before, compared.after, compared.win_rate) == (1.5, 3.5, 1)
    assert (compared.difference.items, compared.difference.mean) == (2, 2)
    assert compared.difference.interval == Interval(2, 2)


def test_null_scores_are_counted_and_leave_the_means_alone():
    before = table({"a": 1, "b": None, "c": None, "d": 3, "e": 5})
    after = table({"a": 1, "b": 100, "c": None, "d": None, "e": None})
    column = compare_tables(before, after).columns["r"]
    assert (column.null_before, column.null_after) == (2, 3)
    assert column.paired is not None
    paired = column.paired
    assert (paired.difference.items, paired.before, paired.after) == (1, 1, 1)
    assert (paired.win_rate, paired.difference.interval) == (0.5, None)


def test_rewards_of_one_table_are_named_and_total_needs_both():
    row = {"id": "a", "path": "p", "prompt": None}
    before = Table((Row(**row, scores={"r": 1, "s": 1}, total=5.0),), ("r", "s"), True)
    after = Table((Row(**row, scores={"r": 2, "t": 2}, total=7.0),), ("t", "r"), True)
    found = compare_tables(before, after)
    assert list(found.columns) == ["r", "total"]
    assert found.columns["total"].paired is not None
    assert found.columns["total"].paired.difference.mean == 2  # 7 - 5
    assert (found.rewards_only_before, found.rewards_only_after) == (["s"], ["t"])
    found = compare_tables(before, Table(after.rows, after.rewards, False))
    assert (list(found.columns), found.rewards_only_before) == (["r"], ["s", "total"])


def test_a_reward_that_failed_everywhere_has_no_comparison_beside_one_that_has():
    rows = (Row("a", "p", None, {"r": 1.0, "s": None}),)
    found = compare_tables(Table(rows, ("r", "s"), False), Table(rows, ("r", "s"), False))
    assert found.columns["s"].paired is None
    assert found.columns["r"].paired is not None


def test_rows_can_be_paired_by_path_or_prompt():
    before, after = table({"a": 1}), table({"a": 2})
    renamed = Table((Row("z", "a.png", "prompt a", {"r": 5.0}),), ("r",), False)
    assert compare_tables(before, renamed, on="path").pairs == 1
    assert compare_tables(after, renamed, on="prompt").pairs == 1
    with pytest.raises(InputError, match=r"no id is in both.*'a'.*'z'.*--on"):
        compare_tables(before, renamed)


def test_a_repeated_or_missing_key_is_refused_by_name():
    twice = Table(
        (*table({"a": 1, "b": 2, "c": 3}).rows, *table({"c": 0, "b": 0}).rows), ("r",), False
    )
    with pytest.raises(InputError, match="id 'c' is in the second table more than once"):
        compare_tables(table({"a": 1}), twice)
    without = Table((Row("a", "p", None, {"r": 1.0}),), ("r",), False)
    with pytest.raises(InputError, match="row 1 of the first table has no prompt"):
        compare_tables(without, twice, on="prompt")


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (table({}), "the second with nothing"),
        (table({"a": 1}, reward="s"), "the first has r, the second s"),
        (table({"a": None}), "no row has a score of the same reward"),
    ],
)
def test_tables_with_nothing_in_common_are_an_error(after, reason):
    with pytest.raises(InputError, match=reason):
        compare_tables(table({"a": 1}), after)


def test_the_printed_table_holds_the_numbers_and_stderr_the_remarks(tmp_path):
    before = table({"a": 0.25, "b": 0.5, "c": None, "x": 1})
    paths = files(tmp_path, before, table({"a": 0.5, "b": 0.75, "c": 1}))
    result = run(*paths)
    assert result.exit_code == 0
    head, line = (" ".join(line.split()) for line in result.stdout.splitlines())
    assert head == (
        "reward n null before after difference 95 % interval p prompts won : tied : lost"
    )
    # means 0.75 / 2 and 1.25 / 2; both differences are 0.25; two of the four flips are as extreme
    assert line == "r 2 1 0.375 0.625 +0.25 +0.25 .. +0.25 0.5 2 : 0 : 0"
    assert result.stderr == (
        f"3 pairs of 3 prompts, paired on id; 1 only in {paths[0]}, 0 only in {paths[1]}\n"
    )


@pytest.mark.parametrize(
    ("base", "other", "names"),
    [
        ("a/one.csv", "b/two.csv", ["one", "two"]),
        ("one.csv", "one.jsonl", ["one.csv", "one.jsonl"]),
        ("a/one.csv", "b/one.csv", ["a/one.csv", "b/one.csv"]),
    ],
)
def test_columns_are_called_by_what_tells_the_files_apart(
    tmp_path, monkeypatch, base, other, names
):
    monkeypatch.chdir(tmp_path)
    for path in (base, other):
        found = table({"a": 1})
        Path(path).parent.mkdir(exist_ok=True)
        write_rows(path, found.rows, found.rewards, found.with_total)
    assert run(base, other).stdout.splitlines()[0].split()[3:5] == names


def test_names_are_the_same_in_any_unicode_form():
    composed, decomposed = table({"fa\u00e7ade": 1}), table({"fac\u0327ade": 2})
    for on in ("id", "path", "prompt"):
        found = compare_tables(composed, decomposed, on)
        assert (found.pairs, found.other_prompt) == (1, [])


def of_prompts(scores, prompts):
    rows = (
        Row(str(n), f"{n}.png", prompt, {"r": score})
        for n, (score, prompt) in enumerate(zip(scores, prompts, strict=True))
    )
    return Table(tuple(rows), ("r",), False)


def test_prompts_with_all_their_pictures_are_what_is_independent(tmp_path):
    # Of each of 8 prompts 4 pictures, which change alike: 32 pairs show no more than 8.
    change = np.repeat(np.random.default_rng(0).normal(size=8), 4)
    prompts = [f"prompt {n // 4}" for n in range(32)]
    before, after = of_prompts(np.zeros(32), prompts), of_prompts(change, prompts)
    found = compare_tables(before, after)
    same = compare(np.zeros(32), change, np.arange(32) // 4, [""] * 32, "items").headline
    assert found.columns["r"].paired == same
    assert (found.pairs, found.prompts, found.clusters, same.difference.clusters) == (32, 8, 8, 8)
    result = run(*files(tmp_path, before, after))
    assert result.stderr.startswith("32 pairs of 8 prompts, paired on id;")
    alone = compare_tables(of_prompts(np.zeros(32), [None] * 32), of_prompts(change, [None] * 32))
    wide, narrow = (item.columns["r"].paired.difference.interval for item in (found, alone))
    # The bootstrap of 8 clusters against that of 32 rows: about sqrt(31 / 7) of the width.
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(2.1, abs=0.25)


def test_where_all_pictures_are_of_one_prompt_they_are_independent():
    before, after = (of_prompts(scores, ["one"] * 3) for scores in ([0, 0, 0], [1, 2, 4]))
    found = compare_tables(before, after)
    assert (found.prompts, found.clusters) == (1, 3)
    assert found.columns["r"].paired.difference.interval is not None


def test_by_prompt_the_scores_of_a_prompt_are_averaged():
    before = of_prompts([1, 3, None, 5, None], ["a", "a", "a", "b", "c"])
    after = of_prompts([4, 7], ["a", "b"])
    found = compare_tables(before, after, on="prompt")
    assert (found.pairs, found.rows_only_before, found.rows_only_after) == (2, 1, 0)
    paired = found.columns["r"].paired
    # a: (1 + 3) / 2 = 2 -> 4, b: 5 -> 7
    assert (paired.before, paired.after, paired.difference.mean) == (3.5, 5.5, 2)


def test_pairs_of_different_prompts_are_warned_of(tmp_path):
    paths = files(tmp_path, of_prompts([1, 2], ["a", "b"]), of_prompts([1, 2], ["a", "c"]))
    assert "Warning: 1 of 2 pairs had two different prompts, such as '1'" in run(*paths).stderr


@pytest.mark.slow
def test_the_interval_holds_the_truth_95_times_in_100_where_prompts_repeat():
    rng = np.random.default_rng(0)
    prompts = [f"prompt {n // 4}" for n in range(160)]
    ours = rows = 0
    for _ in range(400):
        # Prompts differ in how much they gain (mean 0), and pictures of a prompt among themselves.
        change = np.repeat(rng.normal(size=40), 4) + rng.normal(size=160)
        paired = compare_tables(of_prompts(np.zeros(160), prompts), of_prompts(change, prompts))
        interval = paired.columns["r"].paired.difference.interval
        ours += interval.low <= 0 <= interval.high
        rows += abs(change.mean()) <= 1.96 * change.std(ddof=1) / math.sqrt(160)
    # Of 400 a share of 0.95 has a standard error of 0.011.
    assert 0.92 <= ours / 400 <= 0.98
    assert rows / 400 < 0.85  # what it was when each picture counted as independent


def test_rewards_that_are_not_compared_are_named_on_stderr(tmp_path):
    rows = (Row("a", "p", None, {"r": 1.0, "s": 2.0}, total=3.0),)
    paths = files(tmp_path, Table(rows, ("r", "s"), True), table({"a": 1}))
    assert f"only {paths[0]} has it: s, total" in run(*paths).stderr


def test_json_is_the_whole_comparison_in_full_precision(tmp_path):
    paths = files(tmp_path, table({"a": 0, "b": 0, "c": 0}), table({"a": 1, "b": 0, "c": 0}))
    found = json.loads(run(*paths, "--json", "--on", "path").stdout)
    assert (found["base"], found["other"], found["on"]) == (*paths, "path")
    assert (found["pairs"], found["rows_only_before"], found["rewards_only_after"]) == (3, 0, [])
    column = found["columns"]["r"]
    assert (column["null_before"], column["null_after"]) == (0, 0)
    paired = column["paired"]
    assert paired["difference"] == {
        "mean": 1 / 3,
        # m - 1 = 2 draws of three: neither is "a" in 4 of 9, mean 0; both are in 1 of 9, mean 1.
        "interval": [0.0, 1.0],
        "items": 3,
        "clusters": 3,
    }
    assert (paired["before"], paired["after"], paired["win_rate"]) == (0, 1 / 3, 2 / 3)
    assert (paired["wins"], paired["ties"], paired["losses"], paired["p_value"]) == (1, 2, 0, 1)


def metas(paths: list[str], **changes: object) -> None:
    made = {
        "spec": "r",
        "rewards": {"r": {"revision": "one", "dtype": "float32"}},
        "sampling": None,
    }
    write_json(meta_path(paths[0]), made)
    write_json(meta_path(paths[1]), {**made, **changes})


def test_scores_of_other_weights_are_warned_of(tmp_path):
    paths = files(tmp_path, table({"a": 1}), table({"a": 2}))
    metas(paths, rewards={"r": {"revision": "two", "dtype": "float16"}})
    result = run(*paths)
    assert result.exit_code == 0
    assert "Warning: r was scored with different settings" in result.stderr
    assert f'revision is "one" in {paths[0]} and "two" in {paths[1]}' in result.stderr
    assert f'dtype is "float32" in {paths[0]} and "float16" in {paths[1]}' in result.stderr
    meta_path(paths[1]).unlink()
    assert "Warning" not in run(*paths).stderr


def test_scores_of_other_frames_are_warned_of(tmp_path):
    paths = files(tmp_path, table({"a": 1}), table({"a": 2}))
    metas(paths, sampling={"fps": 8})
    assert "sampling is null in" in run(*paths).stderr


def test_the_same_provenance_is_not_warned_of_and_another_spec_only_for_total(tmp_path):
    rows = (Row("a", "p", None, {"r": 1.0}, total=1.0),)
    both = Table(rows, ("r",), True)
    paths = files(tmp_path, both, both)
    metas(paths)
    assert "Warning" not in run(*paths).stderr
    metas(paths, spec="2*r")
    warnings = [line for line in run(*paths).stderr.splitlines() if line.startswith("Warning")]
    assert len(warnings) == 1
    assert "total was scored with different settings" in warnings[0]
    assert 'spec is "r"' in warnings[0]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"rewards": {"r": 1}}'])
def test_a_damaged_meta_file_is_a_warning_and_no_failure(tmp_path, content):
    paths = files(tmp_path, table({"a": 1}), table({"a": 2}))
    metas(paths)
    meta_path(paths[1]).write_text(content)
    result = run(*paths)
    assert result.exit_code == 0
    assert "Warning: a .meta.json cannot be read" in result.stderr


def test_a_missing_file_or_a_wrong_key_is_wrong_usage(tmp_path):
    paths = files(tmp_path, table({"a": 1}), table({"a": 2}))
    assert run(paths[0], str(tmp_path / "none.csv")).exit_code == 2
    assert run(*paths, "--on", "seed").exit_code == 2


def test_comparing_and_asking_for_help_load_no_torch(tmp_path):
    paths = files(tmp_path, table({"a": 1, "b": 2}), table({"a": 2, "b": 2}))
    for arguments, heavy in ((paths, {"torch"}), (["--help"], {"torch", "numpy", "pyarrow"})):
        code = (
            "import sys; from rewardkit.cli.compare import compare\n"
            f"compare({arguments!r}, standalone_mode=False)\n"
            f"sys.stderr.write(repr({heavy!r} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stderr.endswith("set()"), done.stderr
