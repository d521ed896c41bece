import csv
import json
import os

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardkit.errors import InputError, UsageError
from rewardkit.records.rows import FLOAT32_MAX, Row, Table, check_format, read_rows, storable
from rewardkit.records.rows import write_rows as write

FORMATS = (".parquet", ".csv", ".jsonl")
REWARDS = ("hps.v2.1", "clip.vit-l-14")
ROWS = (
    Row("a", "a.png", "a cat", {"hps.v2.1": 0.1, "clip.vit-l-14": 1e-8}, total=2.5),
    Row("b", "b.png", None, {"hps.v2.1": None, "clip.vit-l-14": None}, error="no picture"),
)

texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["", "\0", "\r", "a\r\nb\n", 'say "hi", then', "猫 😀", "\u2028\x85", " ", "NaN", "null", "007"]
)
scores = st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rewards = draw(st.lists(st.sampled_from(["a", "hps.v2.1", 'x"y,', "猫", " "]), unique=True))
    with_total = draw(st.booleans())
    row = st.builds(
        Row,
        texts,
        texts,
        st.none() | texts,
        st.fixed_dictionaries({name: scores for name in rewards}),
        scores if with_total else st.none(),
        st.none() | texts,
    )
    return Table(tuple(draw(st.lists(row, max_size=5))), tuple(rewards), with_total)


@pytest.mark.parametrize("suffix", FORMATS)
@given(table=tables())
@settings(
    max_examples=60, deadline=None
)  # the first example imports pyarrow, each waits for the disk
def test_what_is_written_is_read_back(tmp_path_factory, suffix, table):
    path = tmp_path_factory.mktemp("round") / f"scores{suffix}"
    write(path, table.rows, table.rewards, table.with_total)
    found = read_rows(path)
    assert found.rows == table.rows
    if table.rows or suffix != ".jsonl":  # JSON lines name the columns in each row, so not in none
        assert found == table


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_of_no_rows_is_read_back(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", [], [], False)
    assert read_rows(tmp_path / f"a{suffix}") == Table((), (), False)


def test_columns_are_in_the_documented_order_and_typed(tmp_path):
    write(tmp_path / "a.parquet", ROWS, REWARDS, True)
    columns = ["id", "path", "prompt", "hps.v2.1", "clip.vit-l-14", "total", "error"]
    text, score = pa.string(), pa.float32()
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.names == columns
    assert schema.types == [text, text, text, score, score, score, text]
    write(tmp_path / "a.jsonl", ROWS, REWARDS, True)
    for line in (tmp_path / "a.jsonl").read_text().splitlines():
        assert list(json.loads(line)) == columns
    write(tmp_path / "b.parquet", ROWS[1:], REWARDS, False)
    assert pq.read_schema(tmp_path / "b.parquet").names == [c for c in columns if c != "total"]


def test_a_failure_is_null_in_every_format(tmp_path):
    for suffix in FORMATS:
        write(tmp_path / f"a{suffix}", ROWS, REWARDS, True)
    column = pq.read_table(tmp_path / "a.parquet")["hps.v2.1"]
    assert column.null_count == 1
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[1])["total"] is None
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file))[2] == ["b", "b.png", "", "", "", "", "no picture"]


def test_text_formats_hold_the_shortest_decimal_of_a_float32(tmp_path):
    # float32(0.1) is 0.100000001490116..., and 0.1 is the shortest decimal next to it.
    rows = [Row("a", "p", None, {"r": 0.1}), Row("b", "p", None, {"r": 0.10000000149011612})]
    for suffix in (".csv", ".jsonl"):
        write(tmp_path / f"a{suffix}", rows, ["r"], False)
    assert (tmp_path / "a.csv").read_bytes() == (
        b'"id","path","prompt","r","error"\n"a","p",,0.1,\n"b","p",,0.1,\n'
    )
    assert '"r": 0.1,' in (tmp_path / "a.jsonl").read_text()
    # 16777217 = 2^24 + 1 lies between two float32 and becomes the even one in every format.
    for suffix in FORMATS:
        write(tmp_path / f"b{suffix}", [Row("a", "p", None, {"r": 16777217.0})], ["r"], False)
        assert read_rows(tmp_path / f"b{suffix}").rows[0].scores == {"r": 16777216.0}


def test_a_long_table_of_texts_with_line_ends_is_read_back(tmp_path):
    # 4 MB of CSV: more than one of the blocks that its reader works in.
    rows = tuple(Row(str(i), "p", f'{i}\n"{"x," * 100}', {"r": i / 2}) for i in range(20_000))
    write(tmp_path / "a.csv", rows, ["r"], False)
    assert read_rows(tmp_path / "a.csv").rows == rows


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_path_that_is_not_utf_8_is_written_with_its_bytes_escaped(tmp_path, suffix):
    name = os.fsdecode(b"caf\xe9.png")
    folder = tmp_path / os.fsdecode(b"\xff")
    rows = [Row(name, name, "\ud800", {}, error=name)]
    write(folder / f"a{suffix}", rows, [], False)
    escaped = "caf\\xe9.png"
    assert read_rows(folder / f"a{suffix}").rows == (
        Row(escaped, escaped, "\\ud800", {}, error=escaped),
    )


def test_text_that_utf_8_holds_is_stored_as_it_is():
    assert storable("é 😀 \\xe9 \0") == "é 😀 \\xe9 \0"


def test_a_reward_that_a_row_lacks_is_null_and_one_that_no_column_has_is_refused(tmp_path):
    write(tmp_path / "a.csv", [Row("a", "p", None, {})], ["r"], False)
    assert read_rows(tmp_path / "a.csv").rows[0].scores == {"r": None}
    with pytest.raises(InputError, match="score of 'q'; the score columns are r"):
        write(tmp_path / "b.csv", [Row("a", "p", None, {"q": 1.0})], ["r"], False)
    assert not (tmp_path / "b.csv").exists()


@pytest.mark.parametrize("rewards", [["id"], ["total"], ["error"], [""], ["r", "r"]])
def test_a_name_that_cannot_be_a_score_column_is_refused(tmp_path, rewards):
    with pytest.raises(UsageError, match="cannot name the scores"):
        write(tmp_path / "a.csv", [], rewards, False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e39])
def test_a_score_that_is_no_float32_is_refused_on_every_way_in(tmp_path, value):
    with pytest.raises(InputError, match="r of 'a' is"):
        Row("a", "p", None, {"r": value})
    with pytest.raises(InputError, match="total of 'a' is"):
        Row("a", "p", None, {}, total=value)
    columns = {"id": ["a"], "path": ["p"], "prompt": [""], "r": [value], "error": [""]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    pyarrow.csv.write_csv(pa.table(columns), tmp_path / "a.csv")
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "a", "path": "p", "r": value}))
    for suffix in FORMATS:
        with pytest.raises(InputError, match=rf"a\{suffix} as a score table: r of 'a' is"):
            read_rows(tmp_path / f"a{suffix}")


def test_the_largest_float32_is_a_score(tmp_path):
    assert pa.scalar(FLOAT32_MAX, pa.float32()).as_py() == FLOAT32_MAX
    assert Row("a", "p", None, {"r": -FLOAT32_MAX}).scores["r"] == -FLOAT32_MAX


def test_tables_of_other_programs_are_read(tmp_path):
    columns = {"total": [1], "error": [None], "r": [0.5], "path": ["p"], "id": [7]}
    pq.write_table(pa.table(columns | {"prompt": [None]}), tmp_path / "a.parquet")
    bom = "\ufeff"  # programs of Windows begin a file with it
    record = '{"id": 7, "r": 0.5, "total": 1, "path": "p"}'
    (tmp_path / "a.jsonl").write_text(f"{bom}{record}\r\n\r\n", "utf-8")
    (tmp_path / "a.CSV").write_text(
        f"{bom}id,path,prompt,error,r,total\r\n7,p,,,0.5,1\r\n", "utf-8"
    )
    for name in ("a.parquet", "a.jsonl", "a.CSV"):
        row = Row("7", "p", None, {"r": 0.5}, total=1.0)
        assert read_rows(tmp_path / name) == Table((row,), ("r",), True)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "", "Empty CSV file"),
        ("a.csv", "id,path,prompt\n", "no columns 'error'"),
        ("a.csv", "id,path,prompt,error,id\n", "2 columns 'id'"),
        ("a.csv", "id,path,prompt,error,r,r\n", "given twice"),
        ("a.csv", "id,path,prompt,error,r\na,p,,,good\n", "invalid value 'good'"),
        ("a.csv", "id,path,prompt,error\na,p\n", "Expected 4 columns, got 2"),
        ("a.csv", "id,path,prompt,error\na,p,,\n,p,,\n", "row 2 lacks its id or its path"),
        ("a.jsonl", '{"id": "a", "path": "p"}\nx\n', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("a.jsonl", '{"id": "a", "path": "p", "r": "good"}\n', "good"),
        ("a.jsonl", '{"id": "a"}\n', "row 1 lacks its id or its path"),
        ("a.parquet", "PAR1", "ArrowInvalid"),
    ],
)
def test_a_file_that_is_no_score_table_is_refused_with_the_reason(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_rows(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for suffix in FORMATS:
        with pytest.raises(InputError, match=rf"a\{suffix}.*No such file"):
            read_rows(tmp_path / f"a{suffix}")


def test_an_unknown_suffix_is_refused_before_anything_is_done(tmp_path):
    for name in ("a.xlsx", "a", "a.csv.gz"):
        for attempt in (
            lambda path: write(path, [], [], False),
            read_rows,
            check_format,
        ):
            with pytest.raises(UsageError, match=r"\.parquet, \.csv, \.jsonl"):
                attempt(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
