import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rewardkit.errors import InputError, UsageError
from rewardkit.media.prompts import attach, read
from rewardkit.media.sources import Item, find


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


def test_an_id_counts_before_a_path(items):
    file = write("p.jsonl", {"id": "x/a", "path": "media/c.png", "prompt": "a"})
    assert prompts(attach(items, file=file)) == [None, "a", None]


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
        ("p.jsonl", '{"id": "c", "prompt": "x"}\n{"prompt": "y"}\n', "line 2: no 'id' or 'path'"),
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
    with pytest.raises(UsageError, match=r"'p.yaml' is no prompt file: \.jsonl"):
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


@pytest.mark.parametrize("name", ["json.decoder/x.txt", "os/x.txt", "no.such/x.txt", "/x.txt", ""])
def test_what_is_no_package_is_told(name):
    with pytest.raises(UsageError, match="package:NAME/FILE is meant"):
        read(f"package:{name}")
