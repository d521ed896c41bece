import io
import os
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.errors import InputError, UsageError
from rewardkit.media.sources import find


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def ids(found):
    return [item.id for item in found.items]


def paths(found):
    return [item.path for item in found.items]


def test_a_folder_gives_its_pictures_in_the_order_of_their_bytes(here):
    # By bytes: "-" 2d < "/" 2f < "1" 31 < "B" 42 < "a" 61 < "é" c3 a9.
    touch("p/a.png", "p/a-b.JPG", "p/a/b.webp", "p/a10.png", "p/a2.png", "p/B.png", "p/é.png")
    found = find(["p"])
    assert found.kind == "image"
    assert ids(found) == ["B", "a-b", "a", "a/b", "a10", "a2", "é"]
    assert paths(found)[3] == "p/a/b.webp"


def test_the_order_does_not_depend_on_how_the_folder_lists_its_files(here, monkeypatch):
    touch("p/c.png", "p/a.png", "p/b/d.png")
    expected = paths(find(["p"]))
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: reversed(sorted(iterdir(path))))
    assert paths(find(["p"])) == expected


def test_files_left_out_are_counted_but_for_prompts_beside_pictures(here):
    touch("p/a.png", "p/a.txt", "p/notes.txt", "p/b.mp4", "p/c.pdf", "p/.hidden")
    found = find(["p"], "image")
    assert ids(found) == ["a"]
    assert found.skipped == ["p/b.mp4", "p/c.pdf", "p/notes.txt"]
    assert ids(find(["p"], "video")) == ["b"]


@pytest.mark.parametrize(
    ("files", "kind"), [(["a.png", "b.gif"], "image"), (["a.mp4", "b.WEBM"], "video")]
)
def test_the_kind_is_what_there_is(here, files, kind):
    touch(*(f"p/{name}" for name in files))
    assert find(["p"]).kind == kind


def test_pictures_and_clips_are_found_together_or_by_choice(here):
    touch("p/a.png", "p/b.mp4")
    assert find(["p"]).kind is None and paths(find(["p"])) == ["p/a.png", "p/b.mp4"]
    assert paths(find(["p"], "image")) == ["p/a.png"]


@pytest.mark.parametrize(
    ("files", "kind", "reason"),
    [
        ([], None, "nothing to score in 'p': no files"),
        (["a.txt", "b.pdf"], None, "2 files, none with the extension of a picture or clip, such"),
        (["a.png"], "video", "1 files, none with the extension of a clip, such as 'p/a.png'"),
        (["a.mp4"], "image", "1 files, none with the extension of a picture, such as 'p/a.mp4'"),
    ],
)
def test_nothing_to_score_says_what_was_there(here, files, kind, reason):
    Path("p").mkdir()
    touch(*(f"p/{name}" for name in files))
    with pytest.raises(InputError, match=reason):
        find(["p"], kind)


def test_folders_that_cannot_be_listed_are_told(here, monkeypatch):
    touch("p/a.png", "p/locked/b.png")
    iterdir = Path.iterdir

    def refuse(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    found = find(["p"])
    assert ids(found) == ["a"]
    assert found.unreadable == ["'p/locked': Permission denied"]
    with pytest.raises(InputError, match="1 folders cannot be listed, such as 'p/locked'"):
        find(["p/locked"])


def test_named_files_are_taken_whatever_their_extension(here):
    touch("a.dat", "b")
    Path("gone.png").symlink_to("nowhere")
    found = find(["b", "a.dat", "gone.png"])
    assert (found.kind, ids(found), paths(found)) == (
        "image",
        ["b", "a", "gone"],
        ["b", "a.dat", "gone.png"],
    )
    assert find(["a.dat"], "video").kind == "video"


@pytest.mark.parametrize("missing", ["gone.png", "gone/", "", "a\0b"])
def test_an_input_that_does_not_exist_is_a_wrong_request(here, missing):
    touch("a.png")
    with pytest.raises(UsageError, match="does not exist"):
        find(["a.png", missing])


def test_brackets_in_the_name_of_a_file_are_no_pattern(here):
    touch("a[1].png", "a1.png")
    assert paths(find(["a[1].png"])) == ["a[1].png"]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["p"], ["q/a", "q/b", "r/a"]),  # below the folder
        (["p/"], ["q/a", "q/b", "r/a"]),
        (["."], ["p/q/a", "p/q/b", "p/r/a"]),
        (["p/q/a.png"], ["a"]),
        (["p/q", "p/r"], ["q/a", "q/b", "r/a"]),  # below what all inputs share
        (["p/r/a.png", "p/q"], ["r/a", "q/a", "q/b"]),
        (["p/*/a.png"], ["q/a", "r/a"]),  # below the pattern's fixed part
        (["p/q/*.png"], ["a", "b"]),
        (["**/a.png"], ["p/q/a", "p/r/a"]),
    ],
)
def test_ids_are_paths_below_the_root_of_the_inputs(here, inputs, expected):
    touch("p/q/a.png", "p/q/b.png", "p/r/a.png")
    assert ids(find(inputs)) == expected


def test_ids_do_not_depend_on_where_one_stands(here, monkeypatch):
    touch("p/q/a.png", "p/r/b.png")
    expected = ids(find(["p"]))
    assert ids(find([str(here / "p")])) == expected
    monkeypatch.chdir("p/q")
    assert ids(find([".."])) == expected


def test_ids_that_would_collide_keep_their_extension(here):
    touch("p/a.png", "p/a.jpg", "p/b.png")
    assert ids(find(["p"])) == ["a.jpg", "a.png", "b"]


def test_a_file_given_twice_is_refused_with_both_paths(here):
    touch("p/a.png")
    with pytest.raises(InputError, match=r"two inputs have the id 'a.png': 'p/a.png' and './p/a"):
        find(["p/a.png", "./p/a.png"])


def test_paths_come_from_stdin_by_line_or_by_nul(here):
    by_line = find(["-"], stdin=io.BytesIO(b"x/a.png\r\nx/caf\xe9.dat\n\nx/gone.png"))
    assert paths(by_line) == ["x/a.png", os.fsdecode(b"x/caf\xe9.dat"), "x/gone.png"]
    assert ids(by_line) == ["a", os.fsdecode(b"caf\xe9"), "gone"]
    by_nul = find(["-"], stdin=io.BytesIO(b"x/a\nb.png\0y/c.png\r\0"))
    assert paths(by_nul) == ["x/a\nb.png", "y/c.png\r"]
    assert ids(by_nul) == ["x/a\nb", "y/c"]


def test_stdin_without_paths_or_without_a_stream_is_refused():
    with pytest.raises(InputError, match="nothing to score in '-': no files"):
        find(["-"], stdin=io.BytesIO(b"\n\n"))
    with pytest.raises(UsageError, match="there is none"):
        find(["-"])


@given(st.lists(st.binary(min_size=1).filter(lambda n: b"\0" not in n), min_size=1, unique=True))
def test_any_bytes_can_name_a_file(names):
    found = find(["-"], "image", stdin=io.BytesIO(b"\0".join([*(b"d/" + n for n in names), b""])))
    assert [os.fsencode(path) for path in paths(found)] == [b"d/" + name for name in names]


def test_a_manifest_brings_prompts_ids_and_meta(here):
    touch("m/x/a.png")
    Path("m/list.jsonl").write_text(
        '{"path": "x/a.png", "prompt": "a cat", "id": 7, "tag": "two", "n": 2}\n'
        '{"path": "x/gone.png"}\n'
    )
    first, second = find(["m/list.jsonl"]).items
    assert (first.id, first.path, first.prompt) == ("7", "m/x/a.png", "a cat")
    assert first.meta == {"tag": "two", "n": 2}
    # Without an id of its own: below the manifest's folder. That it is missing shows when opened.
    assert (second.id, second.path, second.prompt, second.meta) == (
        "x/gone",
        "m/x/gone.png",
        None,
        {},
    )


def test_a_manifest_of_files_elsewhere_names_them_below_what_they_share(here):
    Path("m").mkdir()
    Path("m/list.csv").write_text(f"path\n{here}/data/run/a.png\n{here}/data/run/x/b.png\n")
    assert ids(find(["m/list.csv"])) == ["a", "x/b"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "a cat"}', r"line 2: no 'path', the file to score; it has: \['prompt'\]"),
        ('{"path": ""}', "line 2: no 'path'"),
        ('{"path": ["a.png"]}', "line 2: 'path' is text"),
        ('{"path": "b.png", "prompt": 1.5}', "line 2: 'prompt' is text"),
        ('{"path": "x/../a.png"}', "two inputs have the id 'a.png'"),
        ("{", "line 2: not JSON"),
    ],
)
def test_a_bad_line_of_a_manifest_is_named(here, line, reason):
    Path("list.jsonl").write_text('{"path": "a.png"}\n' + line + "\n")
    with pytest.raises(InputError, match=reason):
        find(["list.jsonl"])


def test_a_picture_may_come_twice_with_ids_of_its_own(here):
    Path("list.csv").write_text("path,prompt,id\na.png,a cat,1\na.png,a dog,2\n")
    assert [(i.id, i.prompt) for i in find(["list.csv"]).items] == [("1", "a cat"), ("2", "a dog")]


def test_the_corpus_is_found_whole_and_its_loop_survived(corpus):
    folder = str(Path(corpus["empty.jpg"].path).parent)
    for kind in ("image", "video"):
        found = find([folder], kind)
        expected = {bad.path for bad in corpus.values() if bad.kind == kind}
        assert set(paths(found)) == expected
        assert len(ids(found)) == len(expected)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "text": "a cat"}\n'),  # Hugging Face
        ("list.csv", "filename,caption\na.png,a cat\n"),
        ("list.csv", "Path,Prompt\na.png,a cat\n"),
        ("list.jsonl", '{"id": 1, "prompt": "a cat", "image_path": "a.png"}\n'),  # evalscope
        ("list.tsv", "image\tprompt\na.png\ta cat\n"),
        ("list.json", '[{"path": "a.png", "prompt": "a cat"}]'),
        ("list.json", '{"a.png": {"p": "a cat", "se": 1}}'),  # DiffusionDB
        ("list.json", '{"a.png": "a cat"}'),
        ("list.csv", "name,file,prompt\ncats,a.png,a cat\n"),
    ],
)
def test_the_manifests_of_others_are_read(here, name, text):
    touch("a.png")
    Path(name).write_text(text)
    (item,) = find([name]).items
    assert (item.path, item.prompt) == ("a.png", "a cat")


def test_columns_of_manifests_can_be_named_and_are_asked_for_where_two_would_do(here):
    touch("a.png", "b.png")
    Path("list.csv").write_text("image,img,words\na.png,b.png,a cat\n")
    with pytest.raises(InputError, match=r"'image' and 'img' could all .*--path-column"):
        find(["list.csv"])
    (item,) = find(["list.csv"], path_column="img", prompt_column="words").items
    assert (item.path, item.prompt, item.meta) == ("b.png", "a cat", {"image": "a.png"})
    with pytest.raises(UsageError, match="--path-column no: no such column"):
        find(["list.csv"], path_column="no")
    with pytest.raises(UsageError, match="no table is given"):
        find(["a.png"], prompt_column="words")


def test_a_manifest_that_holds_the_pictures_themselves_is_told(here):
    rows = [{"image": {"bytes": b"\x89PNG" * 1000, "path": None}, "text": "a cat"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "list.parquet")
    with pytest.raises(InputError, match=r"row 1: 'image' holds the file itself") as caught:
        find(["list.parquet"])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("of_file", "of_line"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_manifest_names_files_in_any_unicode_form(here, of_file, of_line):
    path, line = (unicodedata.normalize(form, "façade/é.png") for form in (of_file, of_line))
    touch(path)
    Path("list.csv").write_text(f"path\n{line}\n", "utf-8")
    assert paths(find(["list.csv"])) == [path]
