"""A checkpoint of many files is one pinned folder: whole, unchanged, and nothing beside it."""

import json

import huggingface_hub.constants
import pytest
import torch
from click.testing import CliRunner
from clip_folders import TEXTS, saved, tokens
from transformers import CLIPModel

from rewardkit.cli import main
from rewardkit.engine.loader import Loader
from rewardkit.engine.reward import MeasuredReward
from rewardkit.errors import UsageError, WeightsError
from rewardkit.records.provenance import sha256_file
from rewardkit.weights.hub import locate, parse_overrides, recorded
from rewardkit.weights.pins import Snapshot
from rewardkit.weights.pull import pull

pytestmark = pytest.mark.usefixtures("home")
OURS = Snapshot(name="mine.v1", repo="us/mine", patterns=("*.json", "*.safetensors"), licence="MIT")
SHARDS = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
FILES = {
    "config.json": b"{}",
    "model.safetensors.index.json": json.dumps(
        {"weight_map": dict(zip("ab", SHARDS, strict=True))}
    ).encode(),
    SHARDS[0]: b"first",
    SHARDS[1]: b"second",
}


def write(folder, files):
    for name, content in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_the_first_download_is_recorded_and_later_loads_ask_for_it(server, monkeypatch):
    server("us/mine", "1" * 40, **FILES, README__md=b"left out", **{"other.bin": b"left out"})
    assert recorded(OURS) is None
    first = locate(OURS, {})
    assert (first.source, first.revision, set(first.files)) == ("us/mine", "1" * 40, set(FILES))
    assert {name: (first.path / name).read_bytes() for name in first.files} == FILES
    assert not (first.path / "README.md").exists() and not (first.path / "other.bin").exists()
    assert first.files[SHARDS[0]] == sha256_file(first.path / SHARDS[0])
    assert recorded(OURS) == {"repo": "us/mine", "revision": "1" * 40, "files": first.files}
    server("us/mine", "2" * 40, **FILES | {SHARDS[0]: b"another"})
    assert locate(OURS, {}) == first
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert locate(OURS, {}) == first


def test_what_a_result_records_of_it_has_one_checksum_and_that_of_each_file(server):
    server("us/mine", "1" * 40, **FILES)
    shown = locate(OURS, {}).model_dump(mode="json")
    assert set(shown) == {"path", "source", "revision", "files", "sha256"}
    pinned = OURS.model_copy(update={"revision": "1" * 40, "sha256": shown["sha256"]})
    assert locate(pinned, {}).sha256 == shown["sha256"]
    with pytest.raises(WeightsError, match="have together the sha256"):
        locate(pinned.model_copy(update={"sha256": "0" * 64}), {})


def test_a_pinned_commit_is_the_one_that_is_downloaded(server):
    server("us/mine", "1" * 40, **FILES)
    server("us/mine", "2" * 40, **FILES | {SHARDS[0]: b"another"})
    pinned = OURS.model_copy(update={"revision": "1" * 40})
    assert (locate(pinned, {}).path / SHARDS[0]).read_bytes() == b"first"


def test_an_altered_shard_is_refused(server):
    server("us/mine", "1" * 40, **FILES)
    (locate(OURS, {}).path / SHARDS[1]).resolve().write_bytes(b"tampered")
    with pytest.raises(WeightsError, match=rf"mine\.v1 have changed: .*{SHARDS[1]} has sha256"):
        locate(OURS, {})


def test_a_missing_shard_is_downloaded_again_or_named(server, monkeypatch):
    server("us/mine", "1" * 40, **FILES)
    first = locate(OURS, {})
    (first.path / SHARDS[1]).unlink()
    assert locate(OURS, {}) == first
    (first.path / SHARDS[1]).unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"--weights mine\.v1=PATH.*put mine\.v1/ into"):
        locate(OURS, {})


def test_a_file_beside_those_of_the_repository_is_refused(server):
    server("us/mine", "1" * 40, **FILES)
    folder = locate(OURS, {}).path
    (folder / "notes.txt").write_text("no file of the snapshot")
    locate(OURS, {})
    (folder / "model.safetensors").write_bytes(b"would be read in place of the shards")
    with pytest.raises(WeightsError, match=r"holds model\.safetensors, which the repository"):
        locate(OURS, {})


def test_a_repository_that_lacks_a_shard_is_refused_before_it_is_recorded(server):
    server("us/mine", "1" * 40, **{n: c for n, c in FILES.items() if n != SHARDS[0]})
    with pytest.raises(WeightsError, match=rf"lacks {SHARDS[0]}, which model\.safetensors\.index"):
        locate(OURS, {})
    assert recorded(OURS) is None


def test_an_index_of_another_format_is_no_concern(server):
    index = {"pytorch_model.bin.index.json": json.dumps({"weight_map": {"a": "x.bin"}}).encode()}
    server("us/mine", "1" * 40, **FILES, **index)
    assert set(locate(OURS, {}).files) == {*FILES, *index}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({SHARDS[0]: None}, f"lacks {SHARDS[0]}"),
        ({"model-00003-of-00002.safetensors": b"x"}, "model-00003-of-00002.safetensors, which no"),
        ({"model.safetensors.index.json": b"[]"}, "is no index of shards"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": 1}}'}, "a name is no text"),
        (dict.fromkeys(FILES), r"holds no file \*\.json, \*\.safetensors"),
    ],
)
def test_a_folder_the_user_gives_is_whole_too(tmp_path, change, what):
    files = {name: content for name, content in (FILES | change).items() if content is not None}
    folder = write(tmp_path / "own", files)
    folder.mkdir(exist_ok=True)
    with pytest.raises(WeightsError, match=what):
        locate(OURS, {"mine.v1": folder})


def test_a_folder_the_user_gives_wins_and_a_file_is_none(tmp_path, monkeypatch):
    folder = write(tmp_path / "own", FILES)
    overrides = parse_overrides([f"Mine.V1={folder}"])
    found = locate(OURS, overrides)
    assert (found.path, found.revision) == (folder, None)
    assert (tmp_path / "hf").exists() or found.files[SHARDS[0]] == sha256_file(folder / SHARDS[0])
    with pytest.raises(WeightsError, match="is not a folder"):
        locate(OURS, {"mine.v1": folder / SHARDS[0]})
    with pytest.raises(UsageError, match="there is no file"):
        parse_overrides([f"mine.v1={tmp_path / 'nowhere'}"])
    (tmp_path / "own").rename(tmp_path / "mine.v1")
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(tmp_path))
    assert locate(OURS, {}).files == found.files


def test_a_pulled_folder_is_found_by_a_machine_without_network_or_cache(server, home, monkeypatch):
    server("us/mine", "1" * 40, **FILES)
    pulled = pull(OURS, home / "carried")
    assert pulled.path == home / "carried" / "mine.v1"
    assert pulled.size == sum(map(len, FILES.values())) and set(pulled.files) == set(FILES)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(home / "elsewhere"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "elsewhere/hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="are not on this machine"):
        locate(OURS, {})
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home / "carried"))
    assert locate(OURS, {}).sha256 == pulled.sha256


class Level(MeasuredReward):
    def measure(self, medium):
        return float(medium.float().mean())


def test_pull_and_show_name_it(server, registered):
    from made_rewards import card

    server("us/mine", "1" * 40, **FILES)
    registered(card("wide", weights=(OURS,)), Level)
    shown = CliRunner().invoke(main, ["show", "wide"]).stdout
    assert (
        "mine.v1: us/mine (*.json, *.safetensors)" in shown and "not downloaded here yet" in shown
    )
    pulled = CliRunner().invoke(main, ["pull", "wide", "--json"])
    assert [file["files"] for file in json.loads(pulled.stdout)] == [locate(OURS, {}).files]
    again = CliRunner().invoke(main, ["show", "wide"]).stdout
    assert all(f"{name}, sha256" in again for name in FILES) and "1" * 40 in again


CLIP = Snapshot(
    name="clip", repo="us/clip", patterns=("*.json", "*.txt", "*.safetensors"), licence="MIT"
)


@pytest.fixture
def sharded(tmp_path, server):
    """A CLIP of transformers in shards, on the hub; the model and its tokenizer."""
    folder = tmp_path / "saved"
    model, words = saved(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    assert sum(name.endswith(".safetensors") for name in files) > 2
    server("us/clip", "1" * 40, **files)
    return model, words


def test_a_network_in_shards_with_its_tokenizer_is_read_strictly(sharded):
    model, words = sharded
    loader = Loader("cpu")
    ours = loader.pretrained(CLIPModel, CLIP, lambda: model)
    from transformers import CLIPTokenizer

    ids = tokens(CLIPTokenizer.from_pretrained(loader.folder(CLIP)), TEXTS)
    assert torch.equal(ids, tokens(words, TEXTS))
    theirs = model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.state_dict().items())
    assert loader.networks == [ours] and not ours.training
    assert set(loader.located["clip"].files) > {"config.json", "tokenizer.json"}
    same = loader.module(lambda: CLIPModel(model.config), CLIP)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in same.state_dict().items())


def test_a_network_that_does_not_fit_its_config_is_refused(sharded, tmp_path):
    folder = pull(CLIP, tmp_path / "carried").path
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"lacks \d+ tensors: text_model"):
        Loader("cpu", weights={"clip": folder}).pretrained(CLIPModel, CLIP, CLIPModel)
    config["auto_map"] = {"AutoModel": "code.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="asks to run code"):
        Loader("cpu", weights={"clip": folder}).pretrained(CLIPModel, CLIP, CLIPModel)


@pytest.mark.slow  # the client tries again, and waits
def test_a_hub_that_cannot_be_reached_is_an_error_of_one_line(monkeypatch):
    # Nothing listens on the discard port.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    shown = CliRunner().invoke(main, ["score", "x.png", "-r", "clip:us/nothing"])
    assert shown.exit_code == 1 and "us/nothing" in shown.output
    with pytest.raises(WeightsError, match="us/mine"):
        locate(OURS, {})
