import re
import sys
from datetime import UTC, datetime
from importlib import metadata

import numpy

from rewardkit.records import provenance

# sha256("abc"), FIPS 180-2, appendix B.1
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_checksums_are_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert provenance.sha256_file(tmp_path / "abc") == ABC
    assert provenance.sha256_text("abc") == ABC
    assert provenance.sha256_text("\ud800") != provenance.sha256_text("\ud801")


def test_versions_name_what_is_installed_and_nothing_else(monkeypatch):
    monkeypatch.setattr(provenance, "DISTRIBUTIONS", ("numpy", "no-such-distribution"))
    found = provenance.versions()
    assert list(found) == ["rewardkit", "python", "numpy"]
    assert found["numpy"] == numpy.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_version_of_a_source_tree_is_said_not_to_be_known(monkeypatch):
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert provenance.versions()["rewardkit"] == "not installed"


def test_now_is_utc_to_the_second():
    before = datetime.now(UTC).replace(microsecond=0)
    text = provenance.now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", text)
    assert before <= datetime.fromisoformat(text) <= datetime.now(UTC)
