"""Pulled weights are those that are scored with, here and on a machine without a network."""

import hashlib

import huggingface_hub.constants
import pytest

from rewardkit.errors import WeightsError
from rewardkit.weights.hub import locate, recorded
from rewardkit.weights.pins import PinnedFile
from rewardkit.weights.pull import pull

OURS = PinnedFile(name="mine.v1", repo="us/mine", files=("a.safetensors", "b.pt"), licence="MIT")
CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_what_is_pulled_is_recorded_and_located(server):
    server("us/mine", "1" * 40, a__safetensors=CONTENT)
    pulled = pull(OURS)
    assert (pulled.name, pulled.size, pulled.revision, pulled.sha256) == (
        "mine.v1",
        len(CONTENT),
        "1" * 40,
        SHA256,
    )
    assert recorded(OURS)["sha256"] == SHA256
    assert locate(OURS, {}).path == pulled.path


@pytest.mark.parametrize(
    ("file", "name"), [("a__safetensors", "mine.v1.safetensors"), ("b__pt", "mine.v1.pt")]
)
def test_a_copy_is_found_by_a_machine_without_network_or_cache(
    server, home, monkeypatch, file, name
):
    server("us/mine", "1" * 40, **{file: CONTENT})
    pulled = pull(OURS, home / "carried")
    assert pulled.path == home / "carried" / name

    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(home / "elsewhere"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "elsewhere/hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError):
        locate(OURS, {})
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home / "carried"))
    found = locate(OURS, {})
    assert (found.path, found.sha256) == (pulled.path, SHA256)


def test_the_hubs_file_is_pulled_even_where_a_local_one_would_be_used(server, home, monkeypatch):
    server("us/mine", "1" * 40, a__safetensors=CONTENT)
    (home / "mine.v1.pt").write_bytes(b"the user's own")
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home))
    assert pull(OURS).sha256 == SHA256
