"""A pinned file is downloaded once, and nothing else is ever taken for it."""

import hashlib

import huggingface_hub.constants
import pytest

from rewardkit.errors import InputError
from rewardkit.weights.fetch import fetch

CONTENT = b"a picture"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(server):
    server("us/mine", "1" * 40, a__png=CONTENT)
    return f"{huggingface_hub.constants.ENDPOINT}/us/mine/resolve/{'1' * 40}/a.png"


def test_a_file_is_downloaded_once(url, server):
    path = fetch(url, SHA256)
    assert path.read_bytes() == CONTENT and path.suffix == ".png"
    server("us/mine", "1" * 40, a__png=b"another")
    assert fetch(url, SHA256) == path


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(url, server, home):
    server("us/mine", "1" * 40, a__png=b"another")
    with pytest.raises(InputError, match=rf"its sha256 is [0-9a-f]{{64}}, not {SHA256}"):
        fetch(url, SHA256)
    assert not [path for path in (home / "hf").rglob("*") if path.is_file()]


def test_a_file_that_was_damaged_is_downloaded_again(url):
    fetch(url, SHA256).write_bytes(b"a pict")
    assert fetch(url, SHA256).read_bytes() == CONTENT


def test_offline_only_a_file_that_is_there_is_used(url, home, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    place = home / "hf" / "rewardkit" / "files" / f"{SHA256}.png"
    with pytest.raises(InputError, match=f"HF_HUB_OFFLINE is set: put the file at {place}"):
        fetch(url, SHA256)
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert fetch(url, SHA256) == place


def test_a_file_that_is_not_on_the_server_is_named(url):
    with pytest.raises(InputError, match=r"b\.png cannot be downloaded: HTTPError: .*404"):
        fetch(url.replace("a.png", "b.png"), SHA256)
