"""VBench's dimensions: its prompts, names of files, normalisation and weights."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from golden.media import clip

from benchmarks.benchmark import get
from benchmarks.catalogue import vbench
from benchmarks.catalogue.vbench import DIMENSIONS, LEFT_OUT
from benchmarks.merging import merge
from benchmarks.prompts import Case, PromptSet
from benchmarks.reading import read_result, read_table
from benchmarks.rows import ScoredSample
from benchmarks.runner import score
from benchmarks.shard import Shard
from benchmarks.summary import metrics
from benchmarks.trust import contradiction
from rewardkit.engine.registry import resolve
from rewardkit.engine.spec import parse
from rewardkit.errors import InputError
from rewardkit.media.clips import write_clip

VBENCH = get("vbench-core")
STILL, MOVING, LOOKS = (
    ("temporal_flickering",),
    ("subject_consistency", "motion_smoothness", "dynamic_degree"),
    ("aesthetic_quality",),
)
TAGS = (STILL, STILL, MOVING, MOVING, LOOKS, ("background_consistency",))
CASES = [Case(i, tags, f"a cat's (sofa) no. {i}.") for i, tags in enumerate(TAGS)]


@pytest.fixture
def lines(home, monkeypatch):
    """`lines(...)` are the entries of upstream's list."""
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home))

    def write(*entries):
        monkeypatch.setattr(vbench, "NUMBER", len(entries))
        (home / "vbench-prompts.json").write_text(json.dumps(entries), "utf-8")

    return write


def test_rewards_exist_under_the_names_of_the_criteria():
    spec = parse(VBENCH.rewards, resolve)
    assert spec.names == tuple(criterion.reward for criterion in DIMENSIONS)


def test_prompts_are_those_of_the_dimensions_that_are_measured(lines):
    lines(
        {"prompt_en": "a pier", "dimension": ["temporal_flickering"]},
        {"prompt_en": "a red car", "dimension": ["color"], "auxiliary_info": {"color": "red"}},
        {"prompt_en": "a dog runs", "dimension": ["dynamic_degree", "subject_consistency"]},
        {"prompt_en": "an alley", "dimension": ["scene", "background_consistency"]},
    )
    assert [(case.index, case.tags, case.prompt) for case in VBENCH.prompts().cases] == [
        (0, ("temporal_flickering",), "a pier"),
        (1, ("subject_consistency", "dynamic_degree"), "a dog runs"),
        (2, ("background_consistency",), "an alley"),
    ]


@pytest.mark.parametrize("dimension", [None, "color", ["colour"]])
def test_an_entry_without_dimensions_of_vbench_is_refused(lines, dimension):
    lines({"prompt_en": "a pier", "dimension": dimension})
    with pytest.raises(InputError, match="lists dimensions of VBench"):
        VBENCH.prompts()


def test_another_number_of_prompts_is_refused(lines, monkeypatch):
    lines({"prompt_en": "a pier", "dimension": ["scene"]})
    monkeypatch.setattr(vbench, "NUMBER", 946)
    with pytest.raises(InputError, match="has 1 prompts, and VBench has 946"):
        VBENCH.prompts()


def test_the_total_is_the_weighted_mean_of_normalised_dimensions():
    """By hand, with upstream's constants; the dynamic degree is the share of clips that move."""
    values = {
        "subject_consistency": (0.9, 0.8),
        "background_consistency": (0.7, 0.9),
        "temporal_flickering": (0.95, 0.97),
        "motion_smoothness": (0.99, 0.95),
        "aesthetic_quality": (0.5, 0.6),
        "dynamic_degree": (0.4, 3.0),  # 1.0 is not above the threshold: see below
    }
    of_tag = {criterion.tag: criterion.reward for criterion in DIMENSIONS}
    rows = [
        ScoredSample(
            "+".join(tags), 2 * group + i, 0, {of_tag[tag]: values[tag][i] for tag in tags}
        )
        for group, tags in enumerate((STILL, MOVING, LOOKS, ("background_consistency",)))
        for i in range(2)
    ]
    cases = [Case(row.index, row.tags, "a cat") for row in rows]
    found = metrics(VBENCH, list(of_tag.values()), cases, rows)
    normalised = {
        "subject_consistency": (0.85 - 0.1462) / (1 - 0.1462),
        "background_consistency": (0.8 - 0.2615) / (1 - 0.2615),
        "temporal_flickering": (0.96 - 0.6293) / (1 - 0.6293),
        "motion_smoothness": (0.97 - 0.706) / (0.9975 - 0.706),
        "aesthetic_quality": 0.55,
        "dynamic_degree": 0.5,
    }
    total = (sum(normalised.values()) - 0.5 * normalised["dynamic_degree"]) / 5.5
    assert next(iter(found)) == "core-quality"
    assert found["core-quality"].headline.score == pytest.approx(100 * total, rel=1e-9)
    for tag, value in normalised.items():
        assert found["core-quality"].tasks[tag].score == pytest.approx(100 * value, rel=1e-9)
        mean = sum(values[tag]) / 2
        assert found[of_tag[tag]].headline.score == pytest.approx(100 * mean, rel=1e-9)


def test_a_score_at_the_threshold_does_not_count():
    (dynamic,) = (part for part in DIMENSIONS if part.tag == "dynamic_degree")
    assert [dynamic.value(score) for score in (0.0, 1.0, 1.001)] == [0, 0, 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two clips of each prompt as upstream names them, and clips of its other dimensions."""
    made = tmp_path_factory.mktemp("made")
    for case in CASES:
        for sample in range(2):
            speed = 0.0 if "temporal_flickering" in case.tags else 4.0 * sample
            drifting = clip(2 * case.index + sample, (64, 64), frames=5, velocity=(speed, 0.0))
            write_clip(drifting, made / f"{case.prompt}-{sample}.mp4")
    write_clip(clip(50, (64, 64), frames=5), made / "a red car-0.mp4")
    write_clip(clip(51, (64, 64), frames=5), made / f"{CASES[0].prompt}-24.mp4")
    return made


def test_clips_of_a_larger_folder_are_found_by_their_prompts(folder):
    assert VBENCH.layout.place(CASES[0], 3) == "a cat's (sofa) no. 0.-3"
    found = VBENCH.layout.find(folder, CASES, 2, among=CASES, suffixes={".mp4"})
    assert not found.problems and not found.missing
    assert {key: path.name for key, path in found.paths.items()} == {
        (case.index, sample): f"{case.prompt}-{sample}.mp4" for case in CASES for sample in (0, 1)
    }
    missing = VBENCH.layout.find(folder, CASES, 3, among=CASES, suffixes={".mp4"}).missing
    assert missing == [f"{case.prompt}-2" for case in CASES]


def test_numbers_are_the_same_in_any_number_of_shards(folder, tmp_path):
    """With the dimensions that need no weights."""
    own = tuple(part for part in DIMENSIONS if "consistency" not in part.name)[:-2]
    own = (*own, replace(DIMENSIONS[-1], reward="dynamic-degree"))
    few = replace(VBENCH, criteria=own, rewards="+".join(part.reward for part in own), samples=2)
    prompts = PromptSet("few", CASES[:4])

    def scored(out, **options):
        return score(few, prompts, folder, out, name="m", device="cpu", **options)

    path = scored(tmp_path / "whole")
    whole = read_result(path)
    assert whole.complete and whole.benchmark.metric == "core-quality"
    assert whole.metrics["core-quality"].tasks["dynamic_degree"].score == 50
    assert contradiction(whole, read_table(whole, path)) is None
    for number in (2, 4):
        out = tmp_path / str(number)
        parts = [scored(out, shard=Shard(k + 1, number)) for k in range(number)]
        merged = read_result(merge(parts, few, prompts, out))
        assert merged.metrics == whole.metrics and merged.complete


@pytest.mark.data
def test_upstreams_list_has_as_many_prompts_of_each_dimension_as_upstream_says(home, monkeypatch):
    folder = home / "weights"
    folder.mkdir()
    real = Path(os.environ["REWARDKIT_TEST_DATA"], "prompts", "vbench", "VBench_full_info.json")
    (folder / "vbench-prompts.json").symlink_to(real.resolve())
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(folder))
    cases = VBENCH.prompts().cases
    assert Counter(tag for case in cases for tag in case.tags) == {
        "subject_consistency": 72,
        "background_consistency": 86,
        "temporal_flickering": 75,
        "motion_smoothness": 72,
        "aesthetic_quality": 93,
        "dynamic_degree": 72,
    }
    # No two share a name of a file, and all names can be written and found again.
    made = home / "made"
    made.mkdir()
    for case in cases:
        (made / f"{VBENCH.layout.place(case, 4)}.mp4").touch()
    found = VBENCH.layout.find(made, cases, 5, among=cases, suffixes={".mp4"})
    assert len(found.paths) == len(cases) == 326 and not found.problems
    assert len(LEFT_OUT) + len(DIMENSIONS) == 16
