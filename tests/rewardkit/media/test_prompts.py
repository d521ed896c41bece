import json
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.errors import InputError, UsageError
from rewardkit.media.joining import join
from rewardkit.media.prompts import attach, read
from rewardkit.media.sources import Item, find
from rewardkit.media.tables import TableRow


@pytest.fixture
def items(tmp_path, monkeypatch):
    """Items x/a, x/b and c of the folder `media`; the current folder is above it."""
    monkeypatch.chdir(tmp_path)
    for name in ("x/a.png", "x/b.png", "c.png"):
        Path("media", name).parent.mkdir(parents=True, exist_ok=True)
        Path("media", name).touch()
    found = find(["media"]).items
    assert [item.id for item in found] == ["c", "x/a", "x/b"]
    return found


def prompts(items):
    return [item.prompt for item in items]


def write(name, *rows):
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), name)
    elif name.endswith(".csv"):
        columns = list(rows[0])
        lines = [",".join(columns), *(",".join(row[c] for c in columns) for row in rows)]
        Path(name).write_text("\n".join(lines))
    else:
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    ("column", "keys"),
    [
        ("id", ["x/b", "c"]),
        ("path", ["media/x/b.png", "media/c.png"]),  # from the file's folder, here the current one
        ("path", ["x/b.png", "c.png"]),  # below the root, as the id but with its extension
        ("path", ["x/b", "c"]),
    ],
)
def test_prompts_find_their_items_by_id_or_path(items, form, column, keys):
    file = write(f"p.{form}", *({column: key, "prompt": f"of {key}"} for key in keys))
    assert prompts(attach(items, file=file)) == [f"of {keys[1]}", None, f"of {keys[0]}"]


def test_paths_are_read_from_the_folder_of_their_file_first(items):
    file = write(
        "media/x/p.jsonl", {"path": "../c.png", "prompt": "c"}, {"path": "a.png", "prompt": "a"}
    )
    assert prompts(attach(items, file=file)) == ["c", "a", None]


def test_two_columns_that_name_different_items_are_refused_until_one_is_named(items):
    file = write("p.jsonl", {"id": "x/a", "path": "media/c.png", "prompt": "a"})
    with pytest.raises(InputError, match=r"id 'x/a' is 'x/a', path 'media/c.png' is 'c'.*--path-c"):
        attach(items, file=file)
    assert prompts(attach(items, file=file, path_column="id")) == [None, "a", None]
    assert prompts(attach(items, file=file, path_column="path")) == ["a", None, None]


def test_other_columns_become_meta_and_a_manifests_own_come_first(items):
    first = Item("c", "media/c.png", prompt="mine", meta={"tag": "mine"})
    file = write("p.jsonl", {"id": "c", "prompt": "theirs", "tag": "theirs", "n": 2})
    (item,) = attach([first], file=file)
    assert item.prompt == "mine"
    assert item.meta == {"tag": "mine", "n": 2}
    assert first.meta == {"tag": "mine"}


@pytest.mark.parametrize("name", ["p.txt", "p.json", "p.jsonl", "p.csv"])
def test_prompts_without_keys_go_by_order(items, name):
    texts = ["first", "second", "third"]
    if name == "p.txt":
        Path(name).write_bytes(b"first\r\n second \nthird\n\n")
    elif name == "p.json":
        Path(name).write_text(json.dumps(texts))
    else:
        write(name, *({"prompt": text} for text in texts))
    assert prompts(attach(items, file=name)) == texts


def test_a_json_object_names_ids_or_paths(items):
    Path("p.json").write_text('{"x/a": "a", "c.png": "c"}')
    assert prompts(attach(items, file="p.json")) == ["c", "a", None]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("p.txt", "one\ntwo\n", "it has 2 prompts for 3 items"),
        ("p.txt", "one\n\nthree\n", "line 2: an empty line where a prompt should be"),
        ("p.txt", "", r"is empty \(0 bytes\)"),
        ("p.txt", b"one\ntw\xff\n", "line 2: not UTF-8"),
        ("p.txt", b"\x89PNG\r\n\x1a\n", "line 1: not UTF-8 .* looks like a PNG picture"),
        ("p.json", "[1]", "entry 1: a prompt is text; 1 was given"),
        ("p.json", '{"c": null}', "'c': a prompt is text"),
        ("p.json", "[]", "has no prompts"),
        ("p.json", '"one"', "holds a str; accepted are"),
        ("p.json", "[", "is not JSON"),
        ("p.jsonl", '{"id": "c"}\n', r"line 1: no 'prompt'; it has: \['id'\]"),
        (
            "p.jsonl",
            '{"id": "c", "prompt": "x"}\n{"prompt": "y"}\n',
            "line 2: no 'id', which other",
        ),
        (
            "p.jsonl",
            '{"id": "c", "prompt": "x"}\n{"path": "c.png", "prompt": "y"}\n',
            "line 2: 'c.png' has a prompt already: 'p.jsonl', line 1",
        ),
        (
            "p.jsonl",
            '{"id": "cat/1", "prompt": "x"}\n',
            r"no prompt for any item: it names 'cat/1', the first item is 'c' \('media/c.png'\)",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(items, name, text, reason):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=reason):
        attach(items, file=name)


def test_an_unknown_kind_of_prompt_file_is_a_wrong_request(items):
    with pytest.raises(
        UsageError, match=r"'p.yaml' is not a file of prompts: accepted are \.jsonl"
    ):
        attach(items, file="p.yaml")


@pytest.mark.parametrize(
    "sources",
    [
        {"file": "p.txt", "text": "x"},
        {"text": "x", "from_name": True},
        {"file": "p", "from_name": True},
    ],
)
def test_prompts_come_from_one_source(items, sources):
    with pytest.raises(UsageError, match="one source"):
        attach(items, **sources)


def test_one_text_serves_all_that_have_none(items):
    own = [Item("c", "c.png", prompt="mine"), Item("d", "d.png", prompt=""), Item("e", "e.png")]
    assert prompts(attach(own, text="ours")) == ["mine", "", "ours"]


@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("clips/a cat runs-3.mp4", "a cat runs"),
        ("a_red_ball-12.png", "a red ball"),
        ("a well-known place.png", "a well-known place"),
        ("route-66-0.mp4", "route-66"),
        ("-3.png", None),
        ("_.png", None),
    ],
)
def test_names_are_prompts_as_vbench_writes_them(path, prompt):
    assert prompts(attach([Item("x", path)], from_name=True)) == [prompt]


def test_a_text_beside_a_picture_is_its_prompt(items):
    Path("media/x/a.txt").write_text(" a cat \n")
    Path("media/x/b.txt").touch()
    own = Item("mine", "media/x/a.png", prompt="mine")
    assert prompts(attach([*items, own])) == [None, "a cat", None, "mine"]
    assert prompts(attach(items, text="ours")) == ["ours", "ours", "ours"]  # asked for: no sidecars


def test_what_is_beside_a_strange_path_is_looked_for_without_harm():
    strange = ["", "/", "..", "a\0b.png", "nowhere/c.png", "n" * 300 + ".png", "note.txt"]
    assert prompts(attach([Item(path, path) for path in strange])) == [None] * len(strange)


def test_a_text_beside_a_picture_that_is_not_text_is_refused_by_name(items):
    Path("media/c.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"'media/c.txt', line 1: not UTF-8"):
        attach(items)


@pytest.mark.parametrize("prompt", ["", "😀", "word " * 10_000, "a\0b", "two\nlines"])
def test_a_prompt_is_kept_as_it_is(items, prompt):
    file = write("p.jsonl", {"id": "c", "prompt": prompt})
    assert prompts(attach(items, file=file))[0] == prompt


NAMES = [
    "file_name", "filename", "file", "image", "image_path", "img", "name", "key", "Path", "FILE",
]  # fmt: skip


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("column", NAMES)
def test_another_column_that_names_the_files_is_matched_and_never_the_order(items, form, column):
    rows = [{column: name, "prompt": f"of {name}"} for name in ("x/b.png", "x/a.png", "c.png")]
    file = write(f"p.{form}", *rows)
    assert prompts(attach(items, file=file)) == ["of c.png", "of x/a.png", "of x/b.png"]


@pytest.mark.parametrize("column", NAMES)
def test_a_column_that_names_none_of_the_files_is_refused_with_both_sides(items, column):
    file = write("p.csv", *({column: f"{n}.jpg", "prompt": "x"} for n in range(3)))
    with pytest.raises(InputError, match=rf"'0.jpg', the first item is 'c' .*'{column}'"):
        attach(items, file=file)


def test_of_two_columns_the_one_that_names_all_files_counts(items):
    rows = [
        {"name": "c", "file_name": "x/a.png", "prompt": "a"},
        {"name": "cats", "file_name": "x/b.png", "prompt": "b"},
        {"name": "dogs", "file_name": "c.png", "prompt": "c"},
    ]
    assert prompts(attach(items, file=write("p.jsonl", *rows))) == ["c", "a", "b"]
    with pytest.raises(InputError, match=r"name different items: file_name 'x/a\.png' is 'x/a'"):
        attach(items, file=write("p.jsonl", *rows[:2]))


def test_a_column_of_something_else_names_nothing(items):
    rows = [{"id": i, "image": {"width": 3}, "name": ["x"], "prompt": i} for i in ("x/a", "c")]
    assert prompts(attach(items, file=write("p.jsonl", *rows))) == ["c", "x/a", None]
    picture = {"image": {"bytes": b"\x89PNG", "path": None}, "prompt": "x"}
    with pytest.raises(InputError, match="'image' holds the file itself"):
        attach(items, file=write("p.parquet", picture))


def test_columns_can_be_named(items):
    file = write("p.csv", {"pic": "c.png", "words": "mine"}, {"pic": "x/a.png", "words": "a"})
    found = attach(items, file=file, path_column="pic", prompt_column="words")
    assert prompts(found) == ["mine", "a", None]
    assert found[0].meta == {"pic": "c.png"}
    with pytest.raises(UsageError, match=r"--path-column no: no such column .*\['pic', 'words'\]"):
        attach(items, file=file, path_column="no", prompt_column="words")
    with pytest.raises(UsageError, match="--prompt-column no: no such column"):
        attach(items, file=file, prompt_column="no")


@pytest.mark.parametrize("column", ["text", "caption", "Prompt", "TEXT", "prompt_en"])
def test_prompts_may_be_called_otherwise(items, column):
    rows = [{"file_name": f"{key}.png", column: key, "n": 1} for key in ("c", "x/a", "x/b")]
    file = write("p.jsonl", *rows)
    assert prompts(attach(items, file=file)) == ["c", "x/a", "x/b"]
    assert [line.prompt for line in read(file)] == ["c", "x/a", "x/b"]
    both = write("p.jsonl", *({**row, "prompt": "mine"} for row in rows))
    assert prompts(attach(items, file=both)) == ["mine"] * 3


def test_two_columns_that_could_be_the_prompt_are_refused(items):
    file = write("p.jsonl", {"id": "c", "text": "x", "caption": "y"})
    with pytest.raises(InputError, match=r"'text' and 'caption' could both .*--prompt-column"):
        attach(items, file=file)


def test_what_is_left_over_on_either_side_is_counted_and_named(items, caplog):
    keys = ("c", "gone/1", "gone/2")
    attach(items, file=write("p.jsonl", *({"id": key, "prompt": "x"} for key in keys)))
    assert [record.message for record in caplog.records] == [
        "2 of the prompts in 'p.jsonl' match none of the files, such as 'gone/1', 'gone/2'",
        "2 files have no prompt in 'p.jsonl', such as 'x/a', 'x/b'",
    ]
    caplog.clear()
    attach(items, file=write("p.jsonl", *({"id": i.id, "prompt": "x"} for i in items)))
    assert not caplog.records


def test_that_order_decides_is_told(items, caplog):
    caplog.set_level("INFO", "rewardkit")
    Path("p.txt").write_text("a\nb\nc\n")
    attach(items, file="p.txt")
    assert [record.message for record in caplog.records] == [
        "prompts matched by order: 3 prompts, 3 files"
    ]


@pytest.mark.parametrize("name", ["p.txt", "p.json", "p.jsonl", "p.csv"])
def test_an_order_that_numbers_make_another_is_refused_with_both(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("m").mkdir()
    for n in range(12):
        Path(f"m/{n}.png").touch()
    texts = [f"prompt {n}" for n in range(12)]
    if name == "p.txt":
        Path(name).write_text("\n".join(texts))
    elif name == "p.json":
        Path(name).write_text(json.dumps(texts))
    else:
        write(name, *({"prompt": text} for text in texts))
    with pytest.raises(InputError, match=r"as text, 0, 1, 10, 11, .*by number, 0, 1, 2, 3, "):
        attach(find(["m"]).items, file=name)
    # In an order of the user's there is no doubt, and with ids none either.
    ordered = find([f"m/{n}.png" for n in range(12)]).items
    assert prompts(attach(ordered, file=name)) == texts
    by_id = {str(n): text for n, text in enumerate(texts)}
    Path("by-id.json").write_text(json.dumps(by_id))
    assert {i.id: i.prompt for i in attach(find(["m"]).items, file="by-id.json")} == by_id


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20, unique=True), st.integers(1, 7))
def test_an_order_is_taken_exactly_where_text_and_numbers_agree(numbers, width):
    names = sorted(f"m/{n:0{width}d}.png" for n in numbers)
    rows = [TableRow(f"line {n}", {"prompt": str(n)}) for n in range(len(names))]
    found = [Item(name, name) for name in names]
    if [int(name[2:-4]) for name in names] == sorted(numbers):
        assert list(join(found, rows, Path("p.txt")).rows) == names
    else:
        with pytest.raises(InputError, match="two orders"):
            join(found, rows, Path("p.txt"))


@pytest.mark.parametrize(("of_file", "of_key"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_the_same_in_any_unicode_form(tmp_path, monkeypatch, of_file, of_key):
    monkeypatch.chdir(tmp_path)
    path, key = (unicodedata.normalize(form, "m/façade é.png") for form in (of_file, of_key))
    Path("m").mkdir()
    Path(path).touch()
    items = find(["m"]).items
    for name in (key, key[2:], key[2:-4]):
        Path("p.json").write_text(json.dumps({name: "x"}))
        assert prompts(attach(items, file="p.json")) == ["x"]


def test_integers_that_pandas_made_floats_are_ids(tmp_path):
    items = [Item("7", "7.png"), Item("8", "8.png")]
    rows = ({"id": 8.0, "prompt": "eight"}, {"id": 7.0, "prompt": "seven"})
    assert prompts(attach(items, file=write(f"{tmp_path}/p.parquet", *rows))) == ["seven", "eight"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"id": "c", "prompt": "C"}, {"id": "x/a", "prompt": "A"}], ["C", "A", None]),
        ([{"image_path": "c.png", "prompt": "C", "ranks": [1, 2]}], ["C", None, None]),
        ([{"prompt_en": "1"}, {"prompt_en": "2"}, {"prompt_en": "3"}], ["1", "2", "3"]),
        ({"c.png": {"p": "C", "se": 3}, "x/b.png": {"p": "B", "se": 4}}, ["C", None, "B"]),
        ({"x/a": {"prompt": "A"}}, [None, "A", None]),
    ],
)
def test_the_json_lists_of_others_are_read(items, value, expected):
    Path("p.json").write_text(json.dumps(value))
    assert prompts(attach(items, file="p.json")) == expected


def test_a_list_by_style_is_told_what_it_is(items):
    Path("p.json").write_text(json.dumps({"anime": ["a", "b"], "photo": ["c"]}))
    with pytest.raises(InputError, match="'anime': holds a list of 2, as the HPS benchmark"):
        attach(items, file="p.json")


@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("three rings_000003.png", "three rings"),  # T2I-CompBench, DPG
        ("a_green_bench_000000.png", "a green bench"),
        ("a car of the 1960s.png", "a car of the 1960s"),
        ("a_car_of_the_1960s-0.mp4", "a car of the 1960s"),
        ("route 66.png", "route 66"),
        ("00000-01.png", None),
        ("000003.png", None),
    ],
)
def test_the_number_at_the_end_of_a_name_is_no_part_of_the_prompt(path, prompt):
    assert prompts(attach([Item("x", path)], from_name=True)) == [prompt]


@pytest.mark.parametrize("name", ["json.decoder/x.txt", "os/x.txt", "no.such/x.txt", "/x.txt", ""])
def test_what_is_no_package_is_told(name):
    with pytest.raises(UsageError, match="package:NAME/FILE is meant"):
        read(f"package:{name}")


@pytest.mark.parametrize("names", [["x/b.png", "c.png", "x/a.png"], ["x/b", "c", "other"]])
def test_a_column_of_any_name_that_holds_the_files_is_not_matched_by_order(items, names):
    write("p.csv", *({"picture": name, "prompt": name} for name in names))

    with pytest.raises(InputError, match="column 'picture' names these files in another order"):
        attach(items, file="p.csv")


def test_columns_that_count_something_else_leave_the_order_alone(items):
    write("p.csv", *({"category": "c", "prompt": p, "n": str(n)} for n, p in enumerate("uvw")))

    assert prompts(attach(items, file="p.csv")) == ["u", "v", "w"]
