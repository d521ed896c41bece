import json

import pytest

from rewardkit.errors import InputError
from rewardkit.records.documents import DamagedDocument, parse_json, parse_toml, read_json

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        (DEEP, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("9" * 5000, "4300 digits"),
        (b"\xff\xfe\x00", "can't decode byte 0xff"),
    ],
)
def test_what_is_no_json_is_one_error_with_its_place(text, reason):
    with pytest.raises(InputError, match=rf"^a\.jsonl, line 3 is not JSON: .*{reason}"):
        parse_json(text, "a.jsonl, line 3")


@pytest.mark.parametrize("text", ["a = ", f"a = {DEEP[:5000]}", f"a = {'9' * 5000}", "a=1\na=2"])
def test_what_is_no_toml_is_one_error_with_its_place(text):
    with pytest.raises(InputError, match=r"^r\.toml is not TOML: "):
        parse_toml(text, "r.toml")


def test_a_damaged_document_is_what_the_standard_parser_raises_too():
    assert issubclass(DamagedDocument, ValueError) and issubclass(DamagedDocument, InputError)


def test_a_file_is_read_with_or_without_a_byte_order_mark(tmp_path):
    for mark in (b"", b"\xef\xbb\xbf"):
        (tmp_path / "a.json").write_bytes(mark + json.dumps({"a": ["é"]}).encode())
        assert read_json(tmp_path / "a.json") == {"a": ["é"]}
