"""A folder of generated pictures: deterministic, resumable, never mixed."""

import json
import shutil
from datetime import date
from decimal import Decimal

import pytest
import torch

from rewardkit.errors import InputError, UsageError
from rewardkit.generators.gallery import claim, make_gallery
from rewardkit.generators.noise import number
from rewardkit.generators.pipelines import generate
from rewardkit.generators.requests import Request
from rewardkit.media.images import read_image
from rewardkit.media.prompts import PromptLine

LINES = [PromptLine("here", "a cat", meta={"tag": "animal"}), PromptLine("here", "a dog")]


def test_pictures_are_those_of_their_seeds_and_the_manifest_says_so(loaded, tmp_path):
    pipe = loaded["sd"]
    manifest = make_gallery(pipe, LINES, tmp_path / "out", samples=2, seed=5)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [row["path"] for row in rows] == [f"0000{i}-0{j}.png" for i in (0, 1) for j in (0, 1)]
    assert rows[0]["tag"] == "animal" and "tag" not in rows[2]
    assert [row["seed"] for row in rows] == [number(5, i, j) for i in (0, 1) for j in (0, 1)]
    card = json.loads((tmp_path / "out" / "rewardkit.json").read_text())
    assert card["arithmetic"] == {"float32_matmul_precision": "highest", "cudnn_allow_tf32": True}
    (again,) = generate(pipe, [Request("a dog", number(5, 1, 0))])
    assert torch.equal(read_image(tmp_path / "out" / "00001-00.png"), again)


# Columns as data sets in parquet have them.
def test_columns_that_json_has_no_value_for_are_text_and_pictures_are_left_out(loaded, tmp_path):
    meta = {
        "added": date(2024, 5, 1),
        "nested": [{"price": Decimal("1.50")}, b"raw"],
        "image": {"bytes": b"PNG", "path": None},
        "thumb": b"PNG",
    }
    manifest = make_gallery(loaded["sd"], [PromptLine("here", "a cat", meta=meta)], tmp_path / "o")
    row = json.loads(manifest.read_text())
    assert row["added"] == "2024-05-01" and row["nested"] == [{"price": "1.50"}, None]
    assert row["prompt"] == "a cat" and not {"image", "thumb"} & row.keys()


def test_only_missing_pictures_are_made_and_they_are_the_same(loaded, tmp_path):
    out, progress = tmp_path / "out", []
    make_gallery(loaded["sd"], LINES, out, samples=2)
    before = {path.name: path.read_bytes() for path in out.glob("*.png")}
    (out / "00000-01.png").unlink()
    kept = (out / "00001-00.png").stat().st_mtime_ns
    make_gallery(
        loaded["sd"], LINES, out, samples=2, on_medium=lambda done, total: progress.append(done)
    )
    assert {path.name: path.read_bytes() for path in out.glob("*.png")} == before
    assert (out / "00001-00.png").stat().st_mtime_ns == kept and progress == [4]


def test_pictures_made_in_another_way_are_not_mixed_in(loaded, tmp_path):
    out = tmp_path / "out"
    make_gallery(loaded["sd"], LINES[:1], out)
    steps = loaded["sd"].protocol.changed({"steps": 3})
    with pytest.raises(UsageError, match=r"protocol\.steps was \d+, now 3"):
        make_gallery(loaded["sd"], LINES[:1], out, protocol=steps)
    with pytest.raises(UsageError, match="prompts was"):
        make_gallery(loaded["sd"], LINES[1:], out)
    (tmp_path / "mine").mkdir()
    # A card that is not of pictures, such as a trained model's, is no leave to write there.
    (tmp_path / "mine" / "rewardkit.json").write_text('{"protocol": {}}')
    with pytest.raises(UsageError, match="is not empty"):
        make_gallery(loaded["sd"], LINES, tmp_path / "mine")


def test_a_protocol_out_of_bounds_is_refused(loaded):
    with pytest.raises(UsageError, match=r"protocol\.steps"):
        loaded["sd"].protocol.changed({"steps": 0})


def test_a_claim_that_no_picture_followed_binds_nobody(loaded, tmp_path):
    pipe, out = loaded["sd"], tmp_path / "out"
    claim(out, pipe, pipe.protocol, {"batch": 4})
    (out / ".rewardkit.0123abcd.json").touch()  # another process writes the same card
    assert claim(out, pipe, pipe.protocol, {"batch": 1})["batch"] == 1
    (out / "00000-00.png").touch()
    with pytest.raises(UsageError, match="batch was 1, now 4"):
        claim(out, pipe, pipe.protocol, {"batch": 4})


def test_a_folder_that_is_removed_while_it_is_made_is_a_failure(loaded, tmp_path):
    out = tmp_path / "out"

    def remove(done, total):
        if done == 1:
            shutil.rmtree(out)

    with pytest.raises(InputError, match=r"was removed while .* rewardkit\.json is gone"):
        make_gallery(loaded["sd"], LINES, out, batch_size=1, on_medium=remove)
    assert not (out / "manifest.jsonl").exists()


def test_a_picture_that_is_removed_while_others_are_made_is_a_failure(loaded, tmp_path):
    out = tmp_path / "out"
    first = out / "00000-00.png"
    with pytest.raises(InputError, match="1 files were removed"):
        make_gallery(
            loaded["sd"],
            LINES,
            out,
            batch_size=1,
            on_medium=lambda *_: first.unlink(missing_ok=True),
        )
    assert not (out / "manifest.jsonl").exists()
    assert make_gallery(loaded["sd"], LINES, out, batch_size=1).is_file()


def test_more_pictures_than_a_folder_takes_are_refused_before_their_list_is_made(loaded, tmp_path):
    with pytest.raises(UsageError, match=r"2 prompts x 99,999,999,999 samples are 199,999,999,998"):
        make_gallery(loaded["sd"], LINES, tmp_path / "out", samples=99_999_999_999)
    assert not (tmp_path / "out").exists()


def test_a_folder_below_a_file_is_told(loaded, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        make_gallery(loaded["sd"], LINES, tmp_path / "file" / "out")
