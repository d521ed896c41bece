"""Weights come from one checked file, read strictly, without running anything in it."""

import hashlib
import json
import pickle

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file

from rewardkit.errors import UsageError, WeightsError
from rewardkit.models import hub
from rewardkit.models.hub import Weights

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}
OURS = Weights(name="mine.v1", repo="us/mine", files=("a.safetensors", "b.pt"), licence="MIT")


pytestmark = pytest.mark.usefixtures("home")


def saved(path, state):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_the_first_download_is_recorded_and_later_loads_ask_for_it(server):
    server("us/mine", "1" * 40, a__safetensors=b"first")
    assert hub.recorded(OURS) is None
    first = hub.locate(OURS, {})
    assert (first.revision, first.sha256) == ("1" * 40, sha256(b"first"))
    assert hub.recorded(OURS) == {
        "repo": "us/mine",
        "file": "a.safetensors",
        "revision": "1" * 40,
        "sha256": sha256(b"first"),
    }
    server("us/mine", "2" * 40, a__safetensors=b"second")
    assert hub.locate(OURS, {}) == first


def test_the_first_file_that_the_repository_has_is_taken(server):
    server("us/mine", "1" * 40, b__pt=b"only this")
    assert hub.locate(OURS, {}).path.name == "b.pt"
    assert hub.recorded(OURS)["file"] == "b.pt"


def test_a_pinned_revision_is_the_one_asked_for(server):
    server("us/mine", "1" * 40, a__safetensors=b"first")
    server("us/mine", "2" * 40, a__safetensors=b"second")
    pinned = OURS.model_copy(update={"revision": "1" * 40, "sha256": sha256(b"first")})
    assert hub.locate(pinned, {}).path.read_bytes() == b"first"


def test_a_file_that_is_not_the_pinned_one_is_refused(server):
    server("us/mine", "1" * 40, a__safetensors=b"first")
    pinned = OURS.model_copy(update={"revision": "1" * 40, "sha256": sha256(b"another")})
    with pytest.raises(WeightsError, match=r"weights of mine\.v1 have changed"):
        hub.locate(pinned, {})


def test_a_file_that_changed_since_it_was_recorded_is_refused(server):
    server("us/mine", "1" * 40, a__safetensors=b"first")
    path = hub.locate(OURS, {}).path
    path.resolve().write_bytes(b"tampered")
    with pytest.raises(WeightsError, match="have changed"):
        hub.locate(OURS, {})


def test_offline_without_the_file_says_what_to_do(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"--weights mine\.v1=PATH.*REWARDKIT_WEIGHTS"):
        hub.locate(OURS, {})


def test_a_path_the_user_gave_wins(tmp_path):
    path = saved(tmp_path / "own.safetensors", STATE)
    located = hub.locate(OURS, {"mine.v1": path})
    assert (located.path, located.revision) == (path, None)
    assert located.sha256 == sha256(path.read_bytes())


@pytest.mark.parametrize("file", ["mine.v1.safetensors", "mine.v1.pt"])
def test_the_folder_of_the_environment_is_searched_by_name(tmp_path, monkeypatch, file):
    path = saved(tmp_path / file, STATE)
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(tmp_path))
    assert hub.locate(OURS, {}).path == path


@pytest.mark.parametrize(
    ("pair", "what"),
    [("mine.v1", "takes NAME=PATH"), ("=x", "takes NAME=PATH"), ("mine=/no/file", "no file")],
)
def test_an_override_that_is_none_is_wrong_usage(pair, what):
    with pytest.raises(UsageError, match=what):
        hub.parse_overrides([pair])


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_state_dict_reads_back(tmp_path, suffix):
    got = hub.read_state_dict(saved(tmp_path / f"w{suffix}", STATE))
    assert all(torch.equal(got[key], STATE[key]) for key in STATE) and got.keys() == STATE.keys()


def test_a_training_checkpoint_gives_its_state_dict(tmp_path):
    wrapped = {f"module.{key}": value for key, value in STATE.items()}
    path = saved(tmp_path / "w.pt", {"state_dict": wrapped, "epoch": 3})
    assert hub.read_state_dict(path).keys() == STATE.keys()


def test_a_checkpoint_in_the_old_torch_format_reads_too(tmp_path):
    torch.save(STATE, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert hub.read_state_dict(tmp_path / "w.pt").keys() == STATE.keys()


class Rogue:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = saved(tmp_path / f"w{suffix}", STATE)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        hub.read_state_dict(path)


@pytest.mark.parametrize("content", [b"", b"text, not weights", pickle.dumps(Rogue())])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        hub.read_state_dict(path)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, capsys):
    path = saved(tmp_path / "w.pt", {"state_dict": Rogue()})
    with pytest.raises(WeightsError, match="more than plain tensors"):
        hub.read_state_dict(path)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"weight": None}, r"1 missing \(weight\)"),
        ({"extra": torch.zeros(1)}, r"1 unexpected \(extra\)"),
        ({"weight": torch.zeros(3, 2)}, r"weight \[3, 2\] instead of \[2, 3\]"),
    ],
)
def test_loading_is_strict(change, what):
    state = {key: value for key, value in (STATE | change).items() if value is not None}
    with pytest.raises(WeightsError, match=what):
        hub.load_strict(torch.nn.Linear(3, 2), state, "FILE")


def test_what_was_recorded_is_json_a_person_can_read(server, tmp_path):
    server("us/mine", "1" * 40, a__safetensors=b"first")
    hub.locate(OURS, {})
    lock = json.loads((tmp_path / "hf" / "rewardkit" / "weights.json").read_text())
    assert lock["mine.v1"]["revision"] == "1" * 40
