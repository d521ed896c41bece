import os

import pytest

from rewardkit.errors import InputError
from rewardkit.media.files import looks_like, open_file, read_text


def test_a_regular_file_is_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with open_file(tmp_path / "a") as stream:
        assert stream.read() == b"abc"


def test_every_reason_not_to_open_a_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "empty").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circular").symlink_to("circular")
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        "missing": "does not exist",
        "empty": r"is empty \(0 bytes\)",
        "dangling": "is a link to 'nowhere', which does not exist",
        "circular": "is a link that leads back to itself",
        "pipe": "is a pipe or a device",
        ".": "is a folder, not a file",
        "n\0l": "cannot be a file name",
        "n" * 300: "cannot be read: File name too long",
    }
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=reason):
            open_file(tmp_path / name)


def test_a_refused_permission_is_named(tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"abc")

    def refuse(*args, **kwargs):  # root, as which tests may run, is refused nothing
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match="may not be read: permission denied"):
        open_file(tmp_path / "secret")


def test_a_message_shows_a_strange_name_in_one_printable_line(tmp_path):
    with pytest.raises(InputError) as caught:
        open_file(os.fsdecode(b"a\nb\xff"))
    assert str(caught.value) == r"'a\nb\udcff' does not exist"


def test_text_loses_its_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfna\xc3\xafve")
    assert read_text(tmp_path / "a.txt") == "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve"


def test_text_in_another_encoding_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\ncaf\xe9\n")
    with pytest.raises(InputError, match=r"line 3: not UTF-8 text \(byte 0xe9\)"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\0\0\0\x18ftypisom", "MP4"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"\xff\n\x10\x20", "a JPEG XL picture"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<html>", "an HTML page, as servers send in place of a missing file"),
        ("é".encode()[:1], "unknown data beginning with bytes c3"),
        ("ab é".encode()[:-1], "text"),  # cut inside a character
        (b"\0\1\2", "unknown data beginning with bytes 00 01 02"),
    ],
)
def test_files_are_recognised_by_their_first_bytes(head, words):
    assert words in looks_like(head)
