"""Whatever bytes a file holds, its reader gives a value or an error of the project's own.

Each reader gets good files with one place changed, cut or overwritten, and noise. What would be a
traceback for the user is an exception of another kind here. The changes are drawn from a fixed
seed; the `slow` run draws more of them.
"""

import io
import json
import random
import shutil
from pathlib import Path

import badfiles
import pyarrow
import pyarrow.parquet
import pytest
import tiny_runs
import torch
from PIL import Image
from safetensors.torch import save as safetensors

from benchmarks.preferences.manifest import read_manifest
from benchmarks.reading import read_result
from grpo.config.layers import layer
from grpo.run import Run
from leaderboards.load import load
from leaderboards.page.runs import read_runs
from rewardkit.errors import RewardKitError
from rewardkit.generators import folders
from rewardkit.generators.protocol import carried_protocol
from rewardkit.media.clips import read_clip
from rewardkit.media.images import read_image
from rewardkit.media.prompts import attach
from rewardkit.media.prompts import read as read_prompts
from rewardkit.media.sources import find
from rewardkit.records.rows import read_rows
from rewardkit.records.scorefile import ScoreFile
from rewardkit.weights.checkpoint import read_state_dict

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "docs" / "results" / "shapes-sd.shapes.json"
MADE_BY = {"spec": "sharpness"}

# In the place of any value: what breaks parsers, and what breaks whoever trusts them.
HOSTILE = [
    None, True, 0, -1, 10**400, 1e308, float("nan"), float("inf"), "", "\0", "\ud800", "x" * 5000,
    [], {}, [[]], [None], {"": None}, [1, "a", {}], "../../etc/passwd", "1e5", -0.0,
]  # fmt: skip
NOISE = [
    b"", b"\0", b"\xff\xfe{\0}\0", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"null",
    b"[]", b"{}", b'"', b"\n\n", b"NaN", b"a = " + b"[" * 5000, b"\xef\xbb\xbf", b"a,b\n1",
    b"PAR1PAR1", b"\x80" * 64, b"\x00\x00\x00\x00\x00\x00\x00\x10{}", bytes(range(256)),
]  # fmt: skip


def lines(*values):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def parquet(**columns):
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


def encoded(form):
    stream = io.BytesIO()
    Image.effect_noise((24, 16), 90).convert("RGB").save(stream, form)
    return stream.getvalue()


def reopened(path):
    table = path.with_name("t.csv")
    with ScoreFile.open(table, MADE_BY, ["sharpness"], with_total=False, overwrite=False) as file:
        file.reconcile({"a": "p"}, {"a": [Path("a.png")]})


def prompted(path):
    (path.parent / "a.png").touch()
    attach(find([str(path.parent / "a.png")], "image").items, file=path)


def scores(suffix):
    """A score table in a format."""
    row = {"id": "a", "path": "a.png", "prompt": "p", "sharpness": 1.5, "error": None}
    if suffix == "csv":
        return b"id,path,prompt,sharpness,error\na,a.png,p,1.5,\n"
    return (
        lines(row, row | {"id": "b"})
        if suffix == "jsonl"
        else parquet(**{k: [v] for k, v in row.items()})
    )


PROMPT = {"id": "a", "prompt": "a cat", "tag": "x", "more": {"a": [1, 2]}}
CHOICE = {"prompt": "a cat", "images": ["a.png", "b.png"], "ranking": [1, 2], "tag": "x"}
JOURNALED = {"id": "a", "path": "a.png", "prompt": "p", "scores": {"sharpness": 1.0}, "total": None,
             "error": None, "read_at": 1.0}  # fmt: skip
PROTOCOL = {"steps": 4, "guidance": 1.0, "height": 64, "width": 64, "max_sequence_length": None}
INDEX = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
         "vae": [None, None], "requires_safety_checker": False}  # fmt: skip
STEP = {"step": 1, "reward/sharpness": 0.5, "seconds/step": 1.0}

#: name -> (file, content, reader of the file)
READERS = {
    "prompts.txt": ("p.txt", b"a cat\na dog\n", read_prompts),
    "prompts.json": ("p.json", json.dumps({"a": "a cat", "b": "a dog"}).encode(), prompted),
    "prompts.jsonl": ("p.jsonl", lines(PROMPT, PROMPT | {"id": "b"}), prompted),
    "prompts.csv": ("p.csv", b'id,prompt\na,"a cat, sitting"\n', prompted),
    "prompts.parquet": ("p.parquet", parquet(id=["a"], prompt=["a cat"], n=[3]), prompted),
    "manifest.jsonl": ("m.jsonl", lines({"path": "a.png", **PROMPT}), lambda p: find([str(p)])),
    "manifest.csv": ("m.csv", b"path,id\na.png,a\n", lambda p: find([str(p)])),
    "manifest.parquet": ("m.parquet", parquet(path=["a.png"], id=[7]), lambda p: find([str(p)])),
    "scores.csv": ("t.csv", scores("csv"), read_rows),
    "scores.jsonl": ("t.jsonl", scores("jsonl"), read_rows),
    "scores.parquet": ("t.parquet", scores("parquet"), read_rows),
    "journal": ("t.csv.journal", lines(MADE_BY, [JOURNALED], [JOURNALED]), reopened),
    "provenance": ("t.csv.meta.json", lines({**MADE_BY, "oldest_read": 1.0}), reopened),
    "result": ("r.json", RESULT.read_bytes(), read_result),
    "results": ("r.json", RESULT.read_bytes(), lambda p: load([p])),
    "preferences": ("m.jsonl", lines(CHOICE, CHOICE), read_manifest),
    "card": ("rewardkit.json", json.dumps({"protocol": PROTOCOL}).encode(),
             lambda p: carried_protocol(p.parent)),
    "index": ("model_index.json", json.dumps(INDEX).encode(),
              lambda p: folders._settings(p.parent, "x")),
    "recipe": ("r.toml", b'about = "x"\ndefault_for = ["a"]\n[optim]\nlr = 1e-4\nx = [{a = 2}]\n',
               lambda p: layer("recipe", str(p))),
    "run": ("config.json", b"", lambda p: Run(p.parent).read_config()),
    "metrics": ("metrics.jsonl", lines(STEP, STEP | {"step": 2}), lambda p: read_runs(p.parent)),
    "weights": ("w.safetensors", safetensors({"a.weight": torch.ones(2, 3)}), read_state_dict),
    **{form: (f"a.{form.lower()}", encoded(form), read_image)
       for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")},
    "clip": ("a.mp4", b"", read_clip),
}  # fmt: skip


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, below in value.items() if isinstance(value, dict) else ():
        yield from places(below, (*path, key))


def changed(value, draw):
    """A JSON value with one place gone, or hostile."""
    whole = [json.loads(json.dumps(value))]
    *above, last = (0, *draw.choice(list(places(value))))
    parent = whole
    for key in above:
        parent = parent[key]
    if isinstance(parent, dict) and draw.random() < 0.25:
        del parent[last]
    else:
        parent[last] = draw.choice(HOSTILE)
    return whole[0] if whole else None


def variants(content, is_json, draw, number):
    """Bytes like `content`, and noise."""
    yield from NOISE
    for _ in range(number):
        if is_json and draw.random() < 0.8:
            parts = content.splitlines() if is_json == "lines" else [content]
            place = draw.randrange(len(parts))
            parts[place] = json.dumps(changed(json.loads(parts[place]), draw)).encode()
            yield b"\n".join(parts) + b"\n"
        elif draw.random() < 0.2:
            yield content[: draw.randrange(len(content) + 1)]
        else:
            data = bytearray(content)
            for _ in range(draw.randint(1, 4)):
                data[draw.randrange(len(data))] = draw.choice([0, 255, draw.randrange(256)])
            yield bytes(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What takes code of its own to make: a run's configuration and a clip."""
    folder = tmp_path_factory.mktemp("made")
    config = tiny_runs.config(folder / "sd").model_dump_json().encode()
    clip = Path(badfiles.make(folder / "files")["whole.mp4"].path).read_bytes()
    return {"run": config, "clip": clip}


def check(name, made, folder, number):
    file, content, read = READERS[name]
    content = content or made[name]
    path = folder / file
    if name == "provenance":
        (folder / "t.csv").write_bytes(scores("csv"))
    elif name == "metrics":
        (folder / "config.json").write_text("{}")
    elif name == "results":
        shutil.copyfile(
            RESULT.with_suffix(".parquet"), folder / RESULT.with_suffix(".parquet").name
        )
    suffix = path.suffix
    is_json = "lines" if suffix in (".jsonl", ".journal") else suffix == ".json"
    path.write_bytes(content)
    read(path)  # the good file is read
    failed = 0
    for data in variants(content, is_json, random.Random(name), number):
        path.write_bytes(data)
        try:
            read(path)
        except RewardKitError as error:
            assert str(error)
            failed += 1
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} of {data[:2000]!r}") from error
    assert failed > len(NOISE) / 3


@pytest.mark.filterwarnings("ignore")  # decoders remark on damaged pictures
@pytest.mark.parametrize("name", READERS)
def test_a_reader_gives_a_value_or_an_error_of_ours(name, made, tmp_path):
    check(name, made, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_reader_gives_a_value_or_an_error_of_ours_for_long(name, made, tmp_path):
    check(name, made, tmp_path, 1000)
