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


OWN = """
about = "mine"
[sampler]
steps = 10
[page]
formula = "x"
[page.code]
{code}
[[page.troubles]]
symptom = "a"
cure = "b"
{source}
{last}
"""


@pytest.mark.parametrize(
    ("parts", "shown", "error"),
    [
        ({"source": 'source = "c"'}, "# mine.toml: mine\n", ""),
        ({"source": 'source = "c"', "code": 'a = "b"'}, "# Code\n#   a  b\n", ""),
        ({}, "", "'mine.toml': page.troubles.0.source: Field required"),
        ({"source": 'source = "c"', "last": "[optim]\nlr = 1.0"}, "", "Move it to the end"),
    ],
)
def test_a_page_of_ones_own_is_printed_or_refused(parts, shown, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = OWN.format(**{"code": "", "source": "", "last": ""} | parts)
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    printed = CliRunner().invoke(main, ["methods", "mine.toml"])
    assert shown in printed.stdout and error in printed.stderr
    assert (printed.exit_code == 0) == (not error)
    assert not shown or tomllib.loads(printed.stdout)["sampler"] == {"steps": 10}
