"""Public lists are read as they are, and a file that is another one is refused."""

import json
from dataclasses import replace

import huggingface_hub.constants
import pytest

from benchmarks import lists
from benchmarks.lists import LISTS, from_file, from_public_list, prompt_list
from rewardkit.errors import InputError, WeightsError

COMMIT = "c" * 40
PARTI = (
    "Prompt\tCategory\tChallenge\tNote\n"
    'a sign that reads "hello"\tWorld Knowledge\tBasic\t\n'
    '"quoted\tAbstract\tBasic\tan odd quote\n'
    "bond\tAbstract\tBasic\t\n"
)


@pytest.fixture
def short(monkeypatch):
    """Lists of three prompts."""
    for name, prompts in LISTS.items():
        monkeypatch.setitem(lists.LISTS, name, prompts._replace(number=3))


@pytest.fixture
def weights(home, monkeypatch):
    """A folder of files given instead of the hub's."""
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home))
    return home


def test_drawbench_is_downloaded_once_and_its_commit_recorded(server, short, monkeypatch):
    server("zhwang/HPDv2", COMMIT, **{"benchmark/drawbench__json": b'["a", "b c", "d"]'})
    read = from_public_list("drawbench")
    assert [case.prompt for case in read.cases] == ["a", "b c", "d"]
    assert {case.stratum for case in read.cases} == {"prompts"}
    assert read.source == f"zhwang/HPDv2/benchmark/drawbench.json at {COMMIT}"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert from_public_list("drawbench") == read


def test_partis_quotes_are_part_of_its_prompts(weights, short):
    (weights / "parti-prompts.tsv").write_text(PARTI, "utf-8")
    read = from_public_list("parti")
    assert [(case.stratum, case.prompt) for case in read.cases] == [
        ("World-Knowledge", 'a sign that reads "hello"'),
        ("Abstract", '"quoted'),
        ("Abstract", "bond"),
    ]


def test_pick_a_pic_is_a_prompt_on_each_line(weights, short):
    (weights / "pick-a-pic-test.txt").write_text("a cat\n two dogs \nein Bär\u2028 groß\n", "utf-8")
    read = from_public_list("pick-a-pic-test")
    assert [case.prompt for case in read.cases] == ["a cat", "two dogs", "ein Bär\u2028 groß"]
    assert str(weights) in read.source


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("parti", "parti-prompts.tsv", "Prompt\tCategory\nbond\tAbstract\n"),
        ("drawbench", "drawbench.json", '["a"]'),
        ("pick-a-pic-test", "pick-a-pic-test.txt", "a\nb\n"),
    ],
)
def test_another_number_of_prompts_is_refused(name, file, content, weights):
    (weights / file).write_text(content)
    with pytest.raises(InputError, match=rf"{file}.* {name} has {LISTS[name].number}"):
        from_public_list(name)


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("parti", "parti-prompts.tsv", "a\tb\nc\td\n", "columns Category and Prompt"),
        ("parti", "parti-prompts.tsv", "Prompt\tCategory\nbond\n", "columns Category and Prompt"),
        ("drawbench", "drawbench.json", "[1, 2, 3]", "a prompt is text"),
        ("drawbench", "drawbench.json", "{", "is not JSON"),
        ("pick-a-pic-test", "pick-a-pic-test.txt", "a\n\nb\n", "line 2: an empty line"),
    ],
)
def test_a_file_that_is_no_such_list_is_named(name, file, content, message, weights, short):
    (weights / file).write_text(content)
    with pytest.raises(InputError, match=f"(?s){file}.*{message}"):
        from_public_list(name)


def test_offline_without_the_list_says_so(home, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in LISTS:
        with pytest.raises(WeightsError, match=f"the data of {LISTS[name].file.name}"):
            from_public_list(name)


def test_a_name_goes_before_a_file_and_a_file_gives_its_title(tmp_path):
    assert prompt_list("drawbench")[0] == "drawbench"
    (tmp_path / "my list.jsonl").write_text('{"prompt": "a cat", "tag": "pets", "size": 3}\n')
    title, read = prompt_list(str(tmp_path / "my list.jsonl"))
    (case,) = read().cases
    assert title == "my-list"
    assert (case.stratum, case.prompt, case.meta) == ("pets", "a cat", {"tag": "pets", "size": 3})


@pytest.mark.parametrize("tag", ["two words", "a/b", "", 3])
def test_a_tag_that_is_no_word_is_refused(tag, tmp_path):
    import json

    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": "a", "tag": tag}))
    with pytest.raises(InputError, match=r"p\.jsonl.*line 1.*is not a word"):
        from_file(str(tmp_path / "p.jsonl"))


def test_prompts_of_a_parquet_file_with_dates_have_a_checksum(tmp_path):
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"prompt": ["a"], "day": [datetime.date(2024, 1, 2)]})
    pq.write_table(table, tmp_path / "p.parquet")
    read = from_file(str(tmp_path / "p.parquet"))
    other = replace(read, cases=[replace(read.cases[0], meta={"day": "2024-01-03"})])
    assert read.sha256 != other.sha256


def test_ta_hard_is_read_from_its_table(weights, short):
    (weights / "ta-hard.csv").write_text(
        'prompt,prompt_zh\n"A cat, and a dog.",\u732b\nB,b\nC,c\n', "utf-8"
    )
    read = from_public_list("ta-hard")
    assert [case.prompt for case in read.cases] == ["A cat, and a dog.", "B", "C"]
    assert {case.stratum for case in read.cases} == {"prompts"}


def test_vbenchs_captions_are_read_from_its_list(weights, short):
    entries = [{"prompt_en": text, "dimension": ["scene"]} for text in ("a", "b", "c")]
    (weights / "vbench-prompts.json").write_text(json.dumps(entries), "utf-8")
    assert [case.prompt for case in from_public_list("vbench").cases] == ["a", "b", "c"]
