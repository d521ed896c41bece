"""Weights in a repository on GitHub are the pinned file, or none."""

import hashlib

import huggingface_hub.constants
import pydantic
import pytest

from rewardkit.errors import WeightsError
from rewardkit.weights import hub
from rewardkit.weights.pins import PinnedFile

CONTENT = b"a head"
COMMIT = "1" * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
# A plus sign is a plus sign in a path and a space to some servers.
OURS = PinnedFile(
    name="head.v1",
    repo="us/heads",
    host="github",
    files=("a+b.pth",),
    revision=COMMIT,
    sha256=SHA256,
    licence="MIT",
)


@pytest.fixture
def published(server, monkeypatch):
    """GitHub on this machine: `published(content)` is what it has at the pinned address."""
    template = huggingface_hub.constants.ENDPOINT + "/{repo}/raw/{revision}/{file}"
    monkeypatch.setattr(hub, "_GITHUB", template)
    return lambda content: server("us/heads", COMMIT, **{"a%2Bb__pth": content})


def test_the_pinned_file_is_downloaded_once(published):
    published(CONTENT)
    located = hub.locate(OURS, {})
    assert located.path.read_bytes() == CONTENT
    assert (located.revision, located.sha256) == (COMMIT, SHA256)
    assert located.source == "github.com/us/heads/a+b.pth"
    published(b"gone")
    assert hub.locate(OURS, {}) == located


def test_another_file_is_refused(published):
    published(b"another")
    with pytest.raises(WeightsError, match=r"github\.com/us/heads: a\+b\.pth.*not the expected"):
        hub.locate(OURS, {})


def test_offline_without_the_file_says_what_to_do(published, monkeypatch):
    published(CONTENT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE.*--weights head\.v1=PATH"):
        hub.locate(OURS, {})


def test_a_path_the_user_gave_wins(home):
    path = home / "mine.pth"
    path.write_bytes(b"my own")
    assert hub.locate(OURS, {"head.v1": path}).path == path


@pytest.mark.parametrize("lacking", ["revision", "sha256"])
def test_a_file_that_is_not_pinned_is_no_card(lacking):
    with pytest.raises(pydantic.ValidationError, match="needs its revision and its sha256"):
        PinnedFile(**OURS.model_dump() | {lacking: None})
