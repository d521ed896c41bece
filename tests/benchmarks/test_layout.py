"""Pictures are found where they are written, and what must not be there is named."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_benchmarks import CASES, TINY, fill, save

from benchmarks.benchmark import Benchmark, get
from benchmarks.catalogue.hps import PER_STYLE, STYLES
from benchmarks.layout import NUMBERED
from benchmarks.prompts import Case
from rewardkit.media.images import image_suffixes

SUFFIXES = image_suffixes()
LAYOUTS = {name: get(name).layout for name in ("geneval", "hps.v2.1")} | {"numbered": NUMBERED}
HPS = get("hps.v2.1").layout
GENEVAL = get("geneval").layout
MANY = [Case(i, (STYLES[i // PER_STYLE],), "a cat") for i in range(len(STYLES) * PER_STYLE)]
# Two styles of three prompts each.
FEW = [*MANY[:3], *MANY[PER_STYLE : PER_STYLE + 3]]


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_written_place_is_found_again(name, data, tmp_path_factory):
    layout, folder = LAYOUTS[name], tmp_path_factory.mktemp("found")
    samples = data.draw(st.integers(1, 12)) if layout.numbers_samples else 1
    places = st.tuples(st.integers(0, len(MANY) - 1), st.integers(0, samples - 1))
    drawn = data.draw(st.sets(places, min_size=1, max_size=6))
    suffix = data.draw(st.sampled_from([".png", ".jpg", ".webp", ".PNG"]))
    written = {}
    for index, sample in drawn:
        case = MANY[index]
        path = folder / f"{layout.place(case, sample)}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        layout.write_beside(folder, case)
        written[index, sample] = path
    cases = [MANY[index] for index in sorted({index for index, _ in drawn})]
    found = layout.find(folder, cases, samples, among=MANY, suffixes=SUFFIXES)
    assert found.paths == written and not found.problems
    assert len(found.missing) == len(cases) * samples - len(written)


def named(folder, layout, cases, samples):
    found = layout.find(folder, cases, samples, among=cases, suffixes=SUFFIXES)
    return {key: path.relative_to(folder).as_posix() for key, path in found.paths.items()}, found


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_a_picture_without_a_samples_number_is_the_first_of_its_prompt(tmp_path):
    touch(tmp_path, "00000.png", "1.jpg")
    paths, found = named(tmp_path, NUMBERED, CASES[:2], 1)
    assert paths == {(0, 0): "00000.png", (1, 0): "1.jpg"}
    assert not found.problems and not found.missing
    assert named(tmp_path, NUMBERED, CASES[:2], 2)[1].missing == ["00000-01", "00001-01"]
    touch(tmp_path, "00000-00.png")
    (problem,) = named(tmp_path, NUMBERED, CASES[:2], 1)[1].problems
    assert "two for one place" in problem


def test_genevals_names_of_four_digits_are_taken(tmp_path):
    touch(tmp_path, "00000/samples/0000.png", "00000/samples/0001.jpg", "00000/samples/0002.webp")
    paths, found = named(tmp_path, GENEVAL, CASES[:1], 3)
    assert paths == {
        (0, 0): "00000/samples/0000.png",
        (0, 1): "00000/samples/0001.jpg",
        (0, 2): "00000/samples/0002.webp",
    }
    assert not found.problems and not found.missing


def test_samples_numbered_from_one_are_taken_in_order(tmp_path):
    touch(tmp_path, "00000/samples/00001.png", "00000/samples/00002.png")
    paths, found = named(tmp_path, GENEVAL, CASES[:1], 2)
    assert paths[0, 0].endswith("00001.png") and paths[0, 1].endswith("00002.png")
    assert not found.problems and not found.missing


def test_genevals_grids_and_its_other_files_are_passed_over(tmp_path):
    touch(tmp_path, "00000/samples/00000.png", "00000/grid.png", "results/results.jsonl")
    _, found = named(tmp_path, GENEVAL, CASES[:1], 1)
    assert not found.problems


def test_a_line_of_metadata_that_is_another_is_named(tmp_path):
    fill(tmp_path, get("geneval"), CASES[:2])
    path = tmp_path / "00001/metadata.jsonl"
    assert json.loads(path.read_text()) == {"prompt": CASES[1].prompt}
    assert not named(tmp_path, GENEVAL, CASES[:2], 4)[1].problems
    path.write_text('{"prompt": "a dog"}\n')
    (problem,) = named(tmp_path, GENEVAL, CASES[:2], 4)[1].problems
    assert problem.startswith('00001/metadata.jsonl says {"prompt": "a dog"}')
    assert CASES[1].prompt in problem
    path.write_text("{")
    (problem,) = named(tmp_path, GENEVAL, CASES[:2], 4)[1].problems
    assert problem.startswith("00001/metadata.jsonl: not readable as JSON")


def test_a_folder_as_upstreams_generator_leaves_it_without_metadata_is_taken(tmp_path):
    fill(tmp_path, get("geneval"), CASES[:1])
    (tmp_path / "00000/metadata.jsonl").unlink()
    assert not named(tmp_path, GENEVAL, CASES[:1], 4)[1].problems


def test_pictures_of_hps_are_jpg_or_png_and_not_both(tmp_path):
    touch(tmp_path, "anime/00000.jpg", "anime/00001.png", "anime/2.jpg")
    touch(tmp_path, *(f"concept-art/0000{i}.png" for i in range(3)))
    paths, found = named(tmp_path, HPS, FEW, 1)
    assert paths[0, 0] == "anime/00000.jpg" and paths[1, 0] == "anime/00001.png"
    assert paths[2, 0] == "anime/2.jpg" and paths[PER_STYLE, 0] == "concept-art/00000.png"
    assert not found.problems and not found.missing
    touch(tmp_path, "anime/00000.png")
    (problem,) = named(tmp_path, HPS, FEW, 1)[1].problems
    assert "anime/00000.jpg" in problem and "00000.png: two for one place" in problem


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("00007-00.png", "there is no such prompt among the 7"),
        ("cat.png", "not the name of a file of this set"),
        ("deeper/00000-00.png", "not the name of a file of this set"),
        ("00000-00.gif.txt", None),
        ("00000-01.jxr", "not an extension that can be read here"),
        ("notes.txt", None),
        (".00000-00.1234.png", None),
    ],
)
def test_a_file_that_has_no_place_is_named(name, message, tmp_path):
    touch(tmp_path, name)
    problems = NUMBERED.find(tmp_path, CASES, 2, among=CASES, suffixes=SUFFIXES).problems
    assert problems == ([] if message is None else [f"{name}: {message}"])


def test_more_pictures_of_a_prompt_than_asked_for_are_told(tmp_path):
    fill(tmp_path)
    save(tmp_path / "00003-02.png", 99)
    (problem,) = NUMBERED.find(tmp_path, CASES, 2, among=CASES, suffixes=SUFFIXES).problems
    assert problem.startswith("00003-00 and following: 3 files") and "--samples" in problem


def test_pictures_of_other_shards_are_no_problem_of_this_one(tmp_path):
    fill(tmp_path)
    found = NUMBERED.find(tmp_path, CASES[::2], 2, among=CASES, suffixes=SUFFIXES)
    assert not found.problems and not found.missing
    assert {index for index, _ in found.paths} == {0, 2, 4, 6}


def test_what_is_missing_is_listed_as_it_would_be_called(tmp_path):
    fill(tmp_path)
    (tmp_path / "00002-01.png").unlink()
    assert NUMBERED.find(tmp_path, CASES, 2, among=CASES, suffixes=SUFFIXES).missing == ["00002-01"]


def test_the_prompts_of_every_benchmark_have_places_of_their_own():
    for name in ("shapes", "geneval", "hps"):
        benchmark = get(name)
        assert isinstance(benchmark, Benchmark)
        cases = benchmark.prompts().cases if name == "shapes" else MANY
        places = {
            benchmark.layout.place(case, i) for case in cases for i in range(benchmark.samples)
        }
        assert len(places) == len(cases) * benchmark.samples
    assert TINY.layout is NUMBERED
