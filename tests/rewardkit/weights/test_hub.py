"""Weights come from one checked file: the first download is recorded, later ones must match."""

import hashlib
import json

import huggingface_hub.constants
import pytest

from rewardkit.errors import UsageError, WeightsError
from rewardkit.weights import hub
from rewardkit.weights.pins import PinnedFile

OURS = PinnedFile(name="mine.v1", repo="us/mine", files=("a.safetensors", "b.pt"), licence="MIT")


pytestmark = pytest.mark.usefixtures("home")


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
    path = tmp_path / "own.safetensors"
    path.write_bytes(b"own")
    located = hub.locate(OURS, {"mine.v1": path})
    assert (located.path, located.revision) == (path, None)
    assert located.sha256 == sha256(path.read_bytes())


@pytest.mark.parametrize("file", ["mine.v1.safetensors", "mine.v1.pt"])
def test_the_folder_of_the_environment_is_searched_by_name(tmp_path, monkeypatch, file):
    path = tmp_path / file
    path.write_bytes(b"own")
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(tmp_path))
    assert hub.locate(OURS, {}).path == path


@pytest.mark.parametrize(
    ("pair", "what"),
    [("mine.v1", "takes NAME=PATH"), ("=x", "takes NAME=PATH"), ("mine=/no/file", "no file")],
)
def test_an_override_that_is_none_is_wrong_usage(pair, what):
    with pytest.raises(UsageError, match=what):
        hub.parse_overrides([pair])


def test_what_was_recorded_is_json_a_person_can_read(server, tmp_path):
    server("us/mine", "1" * 40, a__safetensors=b"first")
    hub.locate(OURS, {})
    lock = json.loads((tmp_path / "hf" / "rewardkit" / "weights.json").read_text())
    assert lock["mine.v1"]["revision"] == "1" * 40
