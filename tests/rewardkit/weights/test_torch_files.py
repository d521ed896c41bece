"""Files of download.pytorch.org are those whose checksum their names begin to spell."""

import hashlib

import huggingface_hub.constants
import pydantic
import pytest

from rewardkit.errors import WeightsError
from rewardkit.weights import hub
from rewardkit.weights.pins import PinnedFile

CONTENT = b"a network"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def pinned(file):
    return PinnedFile(
        name="net.v1", repo="models/nets", host="torch", files=(file,), licence="BSD-3-Clause"
    )


OURS = pinned(f"net-{SHA256[:8]}.pth")


@pytest.fixture
def published(server, monkeypatch):
    """The server on this machine: `published(content)` is what it has under the name."""
    monkeypatch.setattr(
        hub, "_TORCH", huggingface_hub.constants.ENDPOINT + "/{repo}/raw/main/{file}"
    )
    file = OURS.files[0].replace(".", "__")
    return lambda content: server("models/nets", "m", **{file: content})


def test_the_file_is_downloaded_once(published):
    published(CONTENT)
    located = hub.locate(OURS, {})
    assert located.path.read_bytes() == CONTENT
    assert (located.revision, located.sha256) == (None, SHA256)
    assert located.source == f"models/nets/{OURS.files[0]}"
    published(b"gone")
    assert hub.locate(OURS, {}) == located


def test_a_file_with_another_checksum_than_its_name_is_refused(published):
    published(b"another")
    with pytest.raises(WeightsError, match="not the expected file"):
        hub.locate(OURS, {})


@pytest.mark.parametrize("file", ["net.pth", "net-22a6.pth", "net-22a6c22g.pth"])
def test_a_name_without_digits_of_a_checksum_is_refused(file):
    with pytest.raises(pydantic.ValidationError, match=r"a name like raft-22a6c225\.pth"):
        pinned(file)
