"""The corpus of bad files, written once for all tests here."""

import pytest
from badfiles import make


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return make(tmp_path_factory.mktemp("corpus"))
