"""Pictures are made once, the same in any shard, and checked before anything is scored."""

import json
from dataclasses import replace

import pytest
from tiny_benchmarks import CASES, PROMPTS, TINY, fill, save

from benchmarks.benchmark import get
from benchmarks.cards import making
from benchmarks.media import check, make
from benchmarks.prompts import PromptSet
from benchmarks.shard import Shard
from rewardkit.errors import InputError, UsageError
from rewardkit.generators import gallery

SHORT = PromptSet("short", CASES[:3])


def protocol(flow):
    return flow.protocol.changed({"steps": 2})


def made(flow, folder, **options):
    make(TINY, SHORT, flow, folder, protocol=protocol(flow), **options)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


@pytest.fixture(scope="module")
def whole(flow, tmp_path_factory):
    """The six pictures of three prompts."""
    return made(flow, tmp_path_factory.mktemp("whole") / "pictures")


def test_every_picture_is_made(whole):
    assert sorted(contents(whole)) == [f"0000{i}-0{j}.png" for i in range(3) for j in range(2)]
    assert len(set(contents(whole).values())) == 6
    checked = check(TINY, SHORT, whole)
    assert len(checked.paths) == 6
    assert checked.made.model.alias == "shapes-flow" and checked.made.protocol["steps"] == 2


def test_shards_make_the_pictures_of_the_whole_to_the_bit(whole, flow, tmp_path):
    for number in (2, 3, 1):
        made(flow, tmp_path / "p", shard=Shard(number, 3))
    assert contents(tmp_path / "p") == contents(whole)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("after", [False, True])
def test_a_killed_run_goes_on_and_ends_with_the_same_bits(n, after, whole, flow, tmp_path, killed):
    folder = tmp_path / "p"
    with pytest.raises(killed(gallery, "write_medium", n, after)):
        made(flow, folder)
    assert len(contents(folder)) == n - 1
    calls = []
    made(flow, folder, on_medium=lambda done, total: calls.append((done, total)))
    assert contents(folder) == contents(whole)
    # Told before the first picture and after each; what is there is not made again.
    assert calls == [(done, 6) for done in range(n - 1, 7)]
    made(flow, folder, on_medium=lambda done, total: calls.append(None))
    assert None not in calls


def test_pictures_of_another_seed_or_protocol_are_not_mixed(whole, flow):
    with pytest.raises(UsageError, match="seed was 0, now 1"):
        made(flow, whole, seed=1)
    with pytest.raises(UsageError, match=r"protocol\.steps was 2"):
        make(TINY, SHORT, flow, whole)


def test_pictures_made_for_other_prompts_are_not_scored(whole):
    other = PromptSet("other", [replace(CASES[0], prompt="a dog"), *CASES[1:3]])
    with pytest.raises(InputError, match=r"made for other prompts.*\(other\)"):
        check(TINY, other, whole)


def test_pictures_of_rewardkit_generate_are_taken(flow, tmp_path):
    from rewardkit.media.prompts import PromptLine

    lines = [PromptLine("", case.prompt) for case in SHORT.cases]
    options = {"samples": 2, "protocol": protocol(flow)}
    gallery.make_gallery(flow, lines, tmp_path, **options)
    checked = check(TINY, SHORT, tmp_path)
    assert len(checked.paths) == 6 and checked.made.samples == 2


def test_a_damaged_card_is_told(folder):
    (folder / "rewardkit.json").write_text(json.dumps({"made_by": {"model": "x"}}))
    with pytest.raises(InputError, match=r"rewardkit\.json does not say.*model"):
        making(folder)


def test_training_evaluates_on_the_pictures_of_the_benchmark(flow, tmp_path):
    """`grpo train` on `shapes`: the same prompts, seeds and, but for rounding, pictures."""
    from grpo.evaluation import in_turn
    from rewardkit.generators.pipelines import generate
    from rewardkit.generators.requests import Request
    from rewardkit.media.images import read_image
    from rewardkit.media.prompts import read

    shapes = replace(get("shapes"), samples=2)
    prompts = shapes.prompts()
    lines = read("package:rewardkit.shapes/lists/held-out.jsonl")
    assert [line.prompt for line in lines] == [case.prompt for case in prompts.cases]
    few = PromptSet("few", prompts.cases[:3])
    make(shapes, few, flow, tmp_path, protocol=protocol(flow))
    requests = [Request(line.prompt, s) for line, s in zip(*in_turn(lines[:3], 6), strict=True)]
    for i, picture in enumerate(generate(flow, requests, protocol=protocol(flow))):
        sample, prompt = divmod(i, 3)
        other = read_image(tmp_path / f"0000{prompt}-0{sample}.png")
        assert (picture.int() - other.int()).abs().max() <= 1


def test_a_folder_that_is_whole_passes(folder):
    checked = check(TINY, PROMPTS, folder)
    assert len(checked.paths) == 14 and checked.made is None
    calls = []
    again = check(TINY, PROMPTS, folder, on_file=lambda *counts: calls.append(counts))
    assert again.sha256 == checked.sha256 and calls[-1] == (14, 14)


def test_the_checksum_is_of_pictures_and_their_places(folder):
    before = check(TINY, PROMPTS, folder).sha256
    one, two = folder / "00000-00.png", folder / "00000-01.png"
    one.rename(folder / "x"), two.rename(one), (folder / "x").rename(two)
    assert check(TINY, PROMPTS, folder).sha256 != before


def wrong(folder, **options):
    with pytest.raises(InputError) as raised:
        check(TINY, PROMPTS, folder, **options)
    return str(raised.value)


def test_a_wrong_folder_is_told_with_what_was_looked_for(tmp_path):
    assert "such as 00000-00, 00001-00" in wrong(tmp_path)
    save(tmp_path / "holiday.jpg", 0)
    assert "it has holiday.jpg: not the name of a file of this set" in wrong(tmp_path)
    with pytest.raises(UsageError, match="there is no folder"):
        check(TINY, PROMPTS, tmp_path / "nowhere")


def test_missing_pictures_are_listed_and_refused(folder):
    (folder / "00004-01.png").unlink()
    (folder / "00006-00.png").unlink()
    message = wrong(folder)
    assert "2 of 14 pictures of tiny are missing" in message and "--allow-partial" in message
    assert "00004-01" in message and "00006-00" in message
    assert len(check(TINY, PROMPTS, folder, allow_partial=True).paths) == 12


def test_a_long_list_of_problems_is_cut(folder):
    for path in folder.glob("*-01.png"):
        path.rename(path.with_suffix(".bad"))
    for i in range(12):
        save(folder / f"more{i}.png", 50 + i)
    message = wrong(folder)
    assert "and 9 more" in message and len(message.splitlines()) == 12


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_damaged_pictures_are_named(keep, folder):
    path = folder / "00002-00.png"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if keep == -1 else content[:keep])
    assert "00002-00.png" in wrong(folder)
    # Nothing that is there makes it a picture.
    assert "00002-00.png" in wrong(folder, allow_partial=True)


def test_another_file_under_a_pictures_name_is_named(folder):
    (folder / "00002-00.png").write_text("<html>404</html>")
    assert "00002-00.png" in wrong(folder)


def test_duplicates_are_named_and_can_be_allowed(folder):
    (folder / "00005-01.png").write_bytes((folder / "00001-00.png").read_bytes())
    message = wrong(folder)
    assert "00005-01.png: the same picture as 00001-00.png" in message
    assert "--allow-duplicates" in message
    assert len(check(TINY, PROMPTS, folder, allow_duplicates=True).paths) == 14


def test_every_kind_of_problem_is_told_at_once(folder):
    (folder / "00002-00.png").write_bytes(b"")
    (folder / "00003-00.png").rename(folder / "00003-00.xyz")
    save(folder / "00009-00.png", 77)
    fill(folder, suffix=".jpg", cases=CASES[:1], seed=200)
    message = wrong(folder)
    for name in ("00002-00.png", "00003-00.xyz", "00009-00.png", "00000-00.png: two for one"):
        assert name in message


def test_every_shard_has_a_prompt():
    assert Shard.parse("3/3").of(SHORT.cases) == SHORT.cases[2:]
    with pytest.raises(UsageError, match="4 shards or processes of 3 prompts leave some empty"):
        Shard.parse("1/4").of(SHORT.cases)
