"""Where `rewardkit score` takes prompts from, as a user types it."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rewardkit.cli import main


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    for n, prompt in enumerate(("a cat", "a dog", None)):
        info = PngInfo()
        if prompt is not None:
            info.add_text("parameters", f"{prompt}\nSteps: 20, Seed: 1")
        else:
            info.add_text("prompt", "{}")  # a graph without a sampler
        Image.new("RGB", (8, 8), (n, n, n)).save(tmp_path / f"m/{n}.png", pnginfo=info)
    return tmp_path


def score(*arguments):
    result = CliRunner().invoke(main, ["score", *arguments, "-r", "contrast", "--json"])
    return result, {(row := json.loads(line))["id"]: row for line in result.stdout.splitlines()}


def test_columns_of_a_file_of_prompts_and_of_a_manifest_are_named(photos):
    (photos / "p.csv").write_text("pic,words\n2.png,two\n0.png,zero\n1.png,one\n")
    (photos / "m" / "list.csv").write_text("pic,words\n2.png,two\n0.png,zero\n1.png,one\n")
    columns = ("--path-column", "pic", "--prompt-column", "words")
    for given in (("m", "-p", "p.csv"), ("m/list.csv",)):
        _, rows = score(*given, *columns)
        assert {id: row["prompt"] for id, row in rows.items()} == {
            "0": "zero", "1": "one", "2": "two",
        }  # fmt: skip
    result, _ = score("m", *columns)
    assert result.exit_code == 2 and "no table is given" in result.stderr


def test_prompts_come_from_metadata_and_an_unclear_one_is_an_error_of_its_row(photos):
    result, rows = score("m", "--prompt-from-metadata")
    assert result.exit_code == 1
    assert {id: row["prompt"] for id, row in rows.items()} == {
        "0": "a cat",
        "1": "a dog",
        "2": None,
    }
    assert "which is the prompt is not clear" in rows["2"]["error"]
    assert [row["scores"]["contrast"] for row in rows.values()] == [0, 0, None]


def test_a_manifest_in_the_folder_is_pointed_at_unless_prompts_are_given(photos, caplog):
    (photos / "m" / "manifest.jsonl").write_text('{"path": "0.png", "prompt": "zero"}\n')
    assert score("m")[0].exit_code == 0
    assert any("`rewardkit score 'm/manifest.jsonl'`" in r.message for r in caplog.records)
    caplog.clear()
    score("m", "--prompt", "x")
    assert not any("manifest: " in record.message for record in caplog.records)


def test_that_order_decides_is_told_on_stderr(photos, caplog):
    (photos / "p.txt").write_text("a\nb\nc\n")
    score("m", "-p", "p.txt")
    assert "prompts matched by order: 3 prompts, 3 files" in caplog.messages
