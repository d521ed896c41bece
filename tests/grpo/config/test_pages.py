"""The pages of methods: what they name exists, and what is printed can be used again."""

import re
import tomllib
from pkgutil import resolve_name

import pytest
from click.testing import CliRunner

from grpo.cli import main
from grpo.config.layers import layer, layers
from grpo.config.settings import fields

METHODS = layers("method")
named = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


@named
def test_a_page_names_only_settings_and_code_that_exist(method):
    page = method.header.page
    assert page is not None and page.troubles, f"{method.name} has no page"
    texts = [page.formula, *(text for t in page.troubles for text in (t.symptom, t.cure))]
    settings = set(re.findall(r"`([^`]*)`", " ".join(texts)))
    assert settings and settings <= fields(method.settings["objective.kind"]).keys()
    for name, what in page.code.items():
        assert what and resolve_name(name).__module__.startswith("grpo.")
    assert all(re.match("https://|the recipe ", trouble.source) for trouble in page.troubles)
    mentioned = set(re.findall(r"the methods? ([\w-]+)", " ".join(texts)))
    assert mentioned <= {other.name for other in METHODS}


@named
def test_a_method_is_printed_with_its_page_as_a_file_that_can_be_used(method, tmp_path):
    printed = CliRunner().invoke(main, ["methods", method.name]).stdout
    page = method.header.page
    for text in (*page.formula.split(), *page.code, *(t.source for t in page.troubles)):
        assert text in printed
    words = " ".join(re.sub(r"^# ", "", printed, flags=re.MULTILINE).split())
    assert all(" ".join(t.cure.split()) in words for t in page.troubles)
    saved = tmp_path / "mine.toml"
    saved.write_text(printed, "utf-8")
    assert layer("method", str(saved)).settings == method.settings
    assert "page" not in tomllib.loads(printed)
