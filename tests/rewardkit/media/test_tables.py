import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewardkit.errors import InputError
from rewardkit.media.tables import TableRow, read_table
from rewardkit.records.parquet import MAX_ROWS
from rewardkit.records.rows import read_rows

ROWS = [{"path": "a.png", "prompt": "a cat, sitting"}, {"path": "b.png", "prompt": 'say "hi"\nnow'}]
CSV = 'path,prompt\na.png,"a cat, sitting"\n\nb.png,"say ""hi""\nnow"\n'


def test_one_table_reads_alike_in_every_format(tmp_path):
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + CSV.encode())  # as spreadsheets save it
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "t.PARQUET")
    for name in ("t.jsonl", "t.csv", "t.PARQUET"):
        assert [row.values for row in read_table(tmp_path / name)] == ROWS


def test_a_file_of_another_extension_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"t\.txt' is not a table: its extension is '\.txt'; .*\.csv"
    ):
        read_table(tmp_path / "t.txt")


def test_rows_say_where_they_stand(tmp_path):
    (tmp_path / "t.jsonl").write_text('\n{"a": 1}\n\n{"a": 2}\n')
    (tmp_path / "t.csv").write_text("a,b\n\n1,2\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"a": 1}]), tmp_path / "t.parquet")
    where = [
        row.where
        for name in ("jsonl", "csv", "parquet")
        for row in read_table(tmp_path / f"t.{name}")
    ]
    assert [place.rpartition("', ")[2] for place in where] == [
        "line 2",
        "line 4",
        "line 3",
        "row 1",
    ]


def test_nulls_and_empty_cells_are_left_out(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"path": "a.png", "prompt": null, "n": 0, "s": ""}\n')
    (tmp_path / "t.csv").write_text("path,prompt\na.png,\n")
    assert read_table(tmp_path / "t.jsonl")[0].values == {"path": "a.png", "n": 0, "s": ""}
    assert read_table(tmp_path / "t.csv")[0].values == {"path": "a.png"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("t.jsonl", '{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ("t.jsonl", '{"a": 1}\n["a"]\n', "line 2: a line is one JSON object"),
        ("t.jsonl", "\n\n", "has no rows"),
        ("t.csv", "a,b\n", "has no rows"),
        ("t.csv", "a,a\n1,2\n", "line 1: a column is named twice"),
        ("t.csv", "a,b\n1,2\n1,2,3\n", "line 3: 3 cells under 2 columns"),
        ("t.csv", 'a,b\n1,"2\n', "line 2: not csv"),
        ("t.csv", "a;b\n1;2;3\n", "line 2: 3 cells under 2 columns, separated by semicolons"),
        ("t.csv", "sep=|\na|b\n1\n", r"line 3: 1 cells under 2 columns, separated by '\|'"),
        ("t.tsv", "a\tb\n1\t2\t3\n", "line 2: 3 cells under 2 columns, separated by tabs"),
        ("t.json", '{"a": ', "is not JSON"),
        ("t.json", "[" * 100_000, "is not JSON"),
        ("t.json", '{"a": "x", "b": "y", "a": "z"}', "'a' appears twice"),
        ("t.json", '[{"a": 1}, 2]', "entry 2: a prompt is text; 2 was given"),
        ("t.parquet", "PAR1 no more", "is not a parquet table"),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=reason):
        read_table(tmp_path / name)


def test_text_is_text_and_whole_numbers_are_their_digits():
    row = TableRow("here", {"a": "x", "n": 12, "f": 1.5, "b": True, "l": []})
    assert [row.text(key) for key in ("a", "n", "missing")] == ["x", "12", None]
    for key in ("f", "b", "l"):
        with pytest.raises(InputError, match=f"here: '{key}' is text"):
            row.text(key)
    assert row.other_than("f", "b", "l") == {"a": "x", "n": 12}


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.lists(st.dictionaries(st.text(), plain | st.lists(plain)), min_size=1, max_size=5))
def test_what_json_can_hold_comes_back_but_for_nulls(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row.values for row in read_table(path)] == [
        {key: value for key, value in row.items() if value is not None} for row in rows
    ]


def saved(text, encoding="utf-8"):
    return text.replace("\n", "\r\n").encode(encoding)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", saved('path;prompt\na.png;a cat, sitting\nb.png;"say ""hi""; now"\n')),
        ("t.csv", saved('sep=;\npath;prompt\na.png;a cat, sitting\nb.png;"say ""hi""; now"\n')),
        ("t.csv", saved('path, prompt\na.png, "a cat, sitting"\nb.png, "say ""hi""; now"\n')),
        ("t.csv", saved('path\tprompt\na.png\ta cat, sitting\nb.png\t"say ""hi""; now"\n')),
        ("t.tsv", saved('path\tprompt\na.png\ta cat, sitting\nb.png\tsay "hi"; now\n')),
        ("t.tsv", saved('path\tprompt\na.png\ta cat, sitting\nb.png\t"say ""hi""; now"\n')),
        (
            "t.csv",
            saved('path\tprompt\na.png\ta cat, sitting\nb.png\t"say ""hi""; now"\n', "utf-16"),
        ),
        (
            "t.json",
            json.dumps(
                [
                    {"path": "a.png", "prompt": "a cat, sitting"},
                    {"path": "b.png", "prompt": 'say "hi"; now'},
                ]
            ).encode("utf-16"),
        ),
    ],
)
def test_a_table_reads_alike_whatever_program_saved_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert [row.values for row in read_table(tmp_path / name)] == [
        {"path": "a.png", "prompt": "a cat, sitting"},
        {"path": "b.png", "prompt": 'say "hi"; now'},
    ]


def test_quotes_that_enclose_no_separator_are_text_in_tsv(tmp_path):
    (tmp_path / "p.tsv").write_text('Prompt\tCategory\n"hi" he said\tPeople\n"bye"\tPeople\n')
    assert [row.values["Prompt"] for row in read_table(tmp_path / "p.tsv")] == [
        '"hi" he said',
        '"bye"',
    ]


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_utf_16_needs_its_mark_and_both_bytes(tmp_path, order):
    mark = "\ufeff".encode(order)
    (tmp_path / "t.csv").write_bytes(mark + "path\né.png\n".encode(order))
    assert read_table(tmp_path / "t.csv")[0].values == {"path": "é.png"}
    (tmp_path / "t.csv").write_bytes(mark + "path\né.png\n".encode(order)[:-1])
    with pytest.raises(InputError, match="not UTF-16 text"):
        read_table(tmp_path / "t.csv")


def test_names_may_be_whole_numbers_as_floats():
    row = TableRow("here", {"id": 7.0, "half": 0.5, "nan": float("nan"), "image": b"\x89PNG"})
    assert (row.name("id"), row.name("missing")) == ("7", None)
    for key in ("half", "nan"):
        with pytest.raises(InputError, match=f"'{key}' is text"):
            row.name(key)
    with pytest.raises(InputError, match="holds the file itself"):
        row.name("image")


pieces = st.sampled_from(
    (
        "path", "prompt", "a.png", ",", ";", "\t", '"', '""', "\n", "\r\n", "sep=;\n", "{", "}",
        "[", "]", ":", "null", "1e999", "NaN", "\0", "\ud800", "é", " ", "7",
    )
)  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(pieces, max_size=20).map("".join), st.sampled_from(["utf-8", "utf-16"]))
def test_any_text_is_rows_or_an_error_that_names_the_file(tmp_path_factory, suffix, text, encoding):
    path = tmp_path_factory.mktemp("any") / f"t.{suffix}"
    path.write_bytes(text.encode(encoding, "surrogatepass"))
    try:
        rows = read_table(path)
    except InputError as error:
        assert f"t.{suffix}" in str(error)
    else:
        assert rows and all(isinstance(row.values, dict) for row in rows)


def test_a_parquet_file_of_more_rows_than_a_table_has_is_refused_by_its_footer(tmp_path):
    path = tmp_path / "t.parquet"
    column = pyarrow.DictionaryArray.from_arrays(
        pyarrow.repeat(pyarrow.scalar(0, pyarrow.int8()), MAX_ROWS + 1), ["a.png"]
    )
    pyarrow.parquet.write_table(pyarrow.table({"path": column}), path)
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"5,000,001 rows; accepted are 5,000,000"):
        read_table(path)
    with pytest.raises(InputError, match=r"5,000,001 rows; accepted are 5,000,000"):
        read_rows(path)
