"""Names that tell models apart, and what differs in how pictures were made."""

from hypothesis import given
from hypothesis import strategies as st

from leaderboards.comparable import differences, labels

words = st.sampled_from(["a", "b", "a (steps 1)", "a #2"])
known = st.dictionaries(st.sampled_from(["steps", "seed"]), st.sampled_from(["1", "2"]))


@given(st.lists(st.tuples(words, known), max_size=6))
def test_no_two_labels_are_the_same(entries):
    found = labels(entries)
    assert len(set(found)) == len(entries)
    assert all(label.startswith(name) for label, (name, _) in zip(found, entries, strict=True))


def test_a_name_that_stands_alone_is_its_label():
    assert labels([("a", {"steps": "1"}), ("b", {"steps": "2"})]) == ["a", "b"]


def test_a_label_tells_only_what_differs():
    entries = [("a", {"steps": "1", "seed": "0"}), ("a", {"steps": "2", "seed": "0"}), ("a", {})]
    assert labels(entries[:2]) == ["a (steps 1)", "a (steps 2)"]
    assert labels(entries)[2] == "a (steps unknown, seed unknown)"
    assert labels([entries[0], entries[0]]) == ["a", "a #2"]


@given(st.lists(known, min_size=1, max_size=6))
def test_what_is_the_same_differs_in_the_same(made):
    found = differences(made)
    for loaded, first in zip(made, found, strict=True):
        for other, second in zip(made, found, strict=True):
            if loaded == other:
                assert first == second


def steps(*values):
    return [{"steps": value} for value in values]


def marked(made, own=()):
    return [
        "".join(item.value for item in found if item.setting == "steps")
        for found in differences(made, own)
    ]


def test_the_commonest_value_is_usual():
    assert marked(steps("20", "20", "10", "6")) == ["", "", "10", "6"]
    # Most rows decide, whatever the model's own is.
    assert marked(steps("20", "20", "10"), steps("10", "10", "10")) == ["", "", "10"]


def test_where_none_is_commonest_the_models_own_is_usual():
    assert marked(steps("20", "10", "6"), steps("20", "20", "20")) == ["", "10", "6"]
    assert marked(steps("20", "20", "10", "10"), steps(*["20"] * 4)) == ["", "", "10", "10"]
    # Two models that are both sampled as their authors do.
    assert marked(steps("50", "28"), steps("50", "28")) == ["", ""]
    # What is not known of one is judged by the others; where nothing is known, all differ.
    assert marked(steps("20", "10", "6"), [*steps("20"), {}, {}]) == ["", "10", "6"]
    assert marked(steps("20", "10"), [{}, {}]) == ["20", "10"]
