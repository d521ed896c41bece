"""Weights that an installed package carries are found in it, and nothing is downloaded."""

import hashlib
import json
import sys

import pydantic
import pytest
from click.testing import CliRunner

from rewardkit.cli import main
from rewardkit.engine.card import RewardCard
from rewardkit.engine.reward import MeasuredReward
from rewardkit.errors import WeightsError
from rewardkit.weights.hub import locate, recorded
from rewardkit.weights.pins import PinnedFile
from rewardkit.weights.pull import pull

CONTENT = b"a head"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OURS = PinnedFile(
    name="head.v1",
    repo="far_home.heads",
    host="package",
    files=("first.safetensors", "weights/second.safetensors"),
    licence="MIT",
)


@pytest.fixture(autouse=True)
def package(home, monkeypatch):
    """A package `far_home.heads` that carries the second of the accepted files."""
    folder = home / "site" / "far_home" / "heads"
    (folder / "weights").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder.parent / "__init__.py").touch()
    (folder / "weights" / "second.safetensors").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(home / "site")
    yield folder
    for name in ("far_home", "far_home.heads"):  # imported, it would outlive its folder
        sys.modules.pop(name, None)


def test_the_file_in_the_package_is_located_with_its_checksum(package):
    located = locate(OURS, {})
    assert located.path == package / "weights" / "second.safetensors"
    assert located.source == "package far_home.heads/weights/second.safetensors"
    assert (located.revision, located.sha256) == (None, SHA256)
    assert recorded(OURS) is None


def test_a_path_the_user_gave_wins(home):
    path = home / "mine.safetensors"
    path.write_bytes(b"my own")
    assert locate(OURS, {"head.v1": path}).path == path


def test_pull_tells_where_it_is_and_copies_nothing(package, home):
    pulled = pull(OURS, home / "carried")
    assert (pulled.path.parent, pulled.size, pulled.sha256) == (package / "weights", 6, SHA256)
    assert not (home / "carried").exists()


def test_a_package_without_the_file_is_told(package):
    (package / "weights" / "second.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"package far_home\.heads has no file first.*second"):
        locate(OURS, {})


def test_a_package_that_is_not_installed_is_told():
    absent = OURS.model_copy(update={"repo": "nowhere_at_all.heads"})
    with pytest.raises(WeightsError, match=r"nowhere_at_all.*Install it.*--weights head\.v1=PATH"):
        locate(absent, {})


def test_a_pin_that_nothing_would_check_is_refused():
    with pytest.raises(pydantic.ValidationError, match="a file of a package has no revision"):
        PinnedFile(**OURS.model_dump() | {"revision": "1" * 40})
    with pytest.raises(pydantic.ValidationError, match="is for a package with a sha256"):
        PinnedFile(**OURS.model_dump() | {"requirement": "far-home==1.2"})


def test_another_version_of_the_package_with_other_weights_is_refused(package):
    pinned = OURS.model_copy(update={"sha256": SHA256})
    assert locate(pinned, {}).sha256 == SHA256
    (package / "weights" / "second.safetensors").write_bytes(b"another head")
    with pytest.raises(WeightsError, match=r"checksum of the weights of head\.v1 differs"):
        locate(pinned, {})
    named = pinned.model_copy(update={"requirement": "far-home==1.2"})
    with pytest.raises(WeightsError, match=r"Install far-home==1\.2, or accept the file with"):
        locate(named, {})


class Level(MeasuredReward):
    def measure(self, medium):
        return float(medium.float().mean())


def test_show_and_pull_say_that_the_package_has_it(registered, package):
    fields = {"inputs": ("image",), "unit": "u", "range": (None, None)}
    registered(RewardCard(name="level", summary="More.", weights=(OURS,), **fields), Level)
    shown = CliRunner().invoke(main, ["show", "level"]).stdout
    assert "head.v1: package far_home.heads" in shown
    assert "comes with the package: nothing is downloaded" in shown
    (told,) = json.loads(CliRunner().invoke(main, ["pull", "level", "--json"]).stdout)
    assert told["path"] == str(package / "weights" / "second.safetensors")
