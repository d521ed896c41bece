import pytest

from rewardkit.media.leftovers import remarks


def told(*skipped, manifests=True):
    return list(remarks(skipped, manifests=manifests))


def test_files_left_out_are_counted_in_good_english():
    assert told() == []
    assert told("p/a.txt") == ["1 other file was left out for its extension, such as p/a.txt"]
    assert told("p/a.txt", "b") == [
        "2 other files were left out for their extension, such as p/a.txt"
    ]


@pytest.mark.parametrize("name", ["manifest.jsonl", "metadata.jsonl", "metadata.csv"])
def test_a_manifest_among_them_is_pointed_at(name):
    assert told("p/notes.txt", f"p/{name}")[1:] == [
        f"'p/{name}' looks like a manifest: `rewardkit score 'p/{name}'` takes its prompts"
    ]
    assert len(told(f"p/{name}", manifests=False)) == 1


def test_pictures_for_geneval_are_known_by_their_layout():
    _, remark = told("p/00000/metadata.jsonl", "p/00001/metadata.jsonl")
    assert "rewardkit bench score geneval --images 'p'" in remark
