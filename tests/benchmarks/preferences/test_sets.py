"""Published sets are read as their publishers lay them out, from small folders made up so."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import picture, pil

from benchmarks.preferences.question import Question
from benchmarks.preferences.sets import SETS, preference_set
from rewardkit.errors import InputError, UsageError

HPD = {
    "prompt": "A cat sleeps.",
    "image_path": ["00001.jpg", "00002.jpg", "00003.jpg"],
    "rank": [2, 1, 3],
    "raw_annotations": [{"rank": [2, 1, 3], "user_hash": "x"}],
}
IMAGEREWARD = {
    "id": "005658-0040",
    "prompt": "a portal",
    "generations": ["part-005658/images/0040/a.webp", "part-005658/images/0040/b.webp"],
    "ranking": [5, 1],
}


def read_list(name, entries, folder):
    path = folder / "test.json"
    path.write_text(json.dumps(entries), "utf-8")
    read = preference_set(name, folder, path).read
    return read(folder / "unpacked")


def test_hpd_names_pictures_and_their_averaged_ranks(tmp_path):
    found = read_list("hpd.v2-test", [HPD], tmp_path)
    assert found.questions == [Question(HPD["prompt"], tuple(HPD["image_path"]), (2.0, 1.0, 3.0))]
    assert (found.name, found.folder, found.missing) == ("hpd.v2-test", tmp_path, 0)
    assert str(tmp_path / "test.json") in found.source


def test_imagereward_names_generations_and_ranks_with_gaps(tmp_path):
    found = read_list("imagereward-test", [IMAGEREWARD], tmp_path)
    assert found.questions == [Question("a portal", tuple(IMAGEREWARD["generations"]), (5.0, 1.0))]
    assert found.missing == 465


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({}, "not the list of entries"),
        ([], "not the list of entries"),
        ([HPD, {**HPD, "rank": [1, 2]}], "entry 2: .*3 images and 2 ranks"),
        ([HPD, HPD, IMAGEREWARD], "entry 3: image_path: Field required"),
        ([{**HPD, "image_path": ["a"], "rank": [1]}], "entry 1: image_path"),
        ([{**HPD, "rank": [1, 2, float("nan")]}], r"entry 1: rank\.2: .*finite"),
    ],
)
def test_another_list_is_refused_by_entry(tmp_path, entries, said):
    with pytest.raises(InputError, match=said):
        read_list("hpd.v2-test", entries, tmp_path)


def test_a_longer_list_is_another_set(tmp_path):
    with pytest.raises(InputError, match="466 entries"):
        read_list("imagereward-test", [IMAGEREWARD] * 467, tmp_path)


def jpeg(seed):
    stream = io.BytesIO()
    pil(picture(seed, 16, 16)).save(stream, "JPEG")
    return stream.getvalue()


CAT, DOG, COW = (jpeg(seed) for seed in range(3))


def row(first, second, label, caption="a cat", has_label=True):
    fields = {"caption": caption, "jpg_0": first, "jpg_1": second, "has_label": has_label}
    return {
        **fields,
        "label_0": label,
        "label_1": None if label is None else 1 - label,
        "user_id": 7,
    }


def write_split(folder, name, rows):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / name)


def read_pick_a_pic(folder, name="pick-a-pic.v2-validation-unique"):
    return preference_set(name, folder).read(folder / "unpacked")


def test_pick_a_pic_is_unpacked_and_its_labels_are_ranks(tmp_path):
    one, other = [row(CAT, DOG, 1.0), row(DOG, COW, 0.0)], [row(CAT, COW, 0.5, "a cow")]
    none = row(CAT, DOG, None, has_label=False)
    write_split(tmp_path / "data", "validation_unique-00000-of-00002-5ea.parquet", [*one, none])
    write_split(tmp_path / "data", "validation_unique-00001-of-00002-9cb.parquet", other)
    write_split(tmp_path / "data", "validation-00000-of-00001-a1b.parquet", [row(CAT, DOG, 1.0)])
    found = read_pick_a_pic(tmp_path)
    cat, dog = found.questions[0].media
    cow = found.questions[1].media[1]
    assert found.questions == [
        Question("a cat", (cat, dog), (1.0, 2.0)),
        Question("a cat", (dog, cow), (2.0, 1.0)),
        Question("a cow", (cat, cow), (1.0, 1.0)),
    ]
    assert [(found.folder / name).read_bytes() for name in (cat, dog, cow)] == [CAT, DOG, COW]
    assert len(list(found.folder.iterdir())) == 3
    # Four rows were read, one of them without an answer.
    assert found.missing == 496


def test_a_row_without_a_picture_leaves_one_that_cannot_be_scored(tmp_path):
    write_split(tmp_path, "test_unique-0.parquet", [row(CAT, None, 1.0), row(CAT, DOG, 1.0)])
    found = read_pick_a_pic(tmp_path, "pick-a-pic.v1-test-unique")
    assert (found.folder / found.questions[0].media[1]).read_bytes() == b""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(CAT, DOG, 1.0), row(CAT, DOG, 0.7)], r"row 2: labels are .*given: \(0\.7"),
        ([{"caption": "a cat"}], "row 1: jpg_0: Field required"),
        ([row(CAT, DOG, 1.0, has_label=False)], "1 rows, 0 with a label"),
        ([row(b"x", b"y", 1.0)] * 501, "has 501 rows"),
    ],
)
def test_another_table_is_refused(tmp_path, rows, said):
    write_split(tmp_path, "validation_unique-0.parquet", rows)
    with pytest.raises(InputError, match=said):
        read_pick_a_pic(tmp_path)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "validation_unique-0.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="not a parquet table"):
        read_pick_a_pic(tmp_path)


def test_a_folder_without_the_split_is_refused(tmp_path):
    write_split(tmp_path, "validation-0.parquet", [row(CAT, DOG, 1.0)])
    with pytest.raises(InputError, match=r"no validation_unique-\*\.parquet"):
        read_pick_a_pic(tmp_path)


def test_sets_are_asked_for_as_they_can_be_had(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'imagereward-test'"):
        preference_set("imagereward-tset", tmp_path)
    with pytest.raises(UsageError, match=r"with --media.*part-005658"):
        preference_set("imagereward-test", None)
    with pytest.raises(UsageError, match="no folder"):
        preference_set("imagereward-test", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no file"):
        preference_set(str(tmp_path / "mine.jsonl"), None)
    Path(tmp_path / "mine.jsonl").touch()
    with pytest.raises(UsageError, match="--media cannot be given"):
        preference_set(str(tmp_path / "mine.jsonl"), tmp_path)


def test_every_set_has_a_name_that_says_its_version():
    picks = [name for name in SETS if name.startswith("pick-a-pic")]
    assert len(picks) == 8 and "pick-a-pic.v1-test-unique" in picks
