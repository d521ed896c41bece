from rewardkit.records.differences import differences, first_difference


def test_the_first_difference_is_named_by_its_dotted_key():
    before = {"a": 1, "b": {"c": [1], "d": "x"}, "e": 2}
    assert first_difference(before, dict(before)) is None
    assert first_difference(before, {"a": 1, "b": {"c": [1], "d": "y"}, "e": 3}) == (
        "b.d",
        '"x"',
        '"y"',
    )
    assert first_difference(before, {"a": 1, "b": before["b"]}) == ("e", "2", "absent")
    assert first_difference({}, {"f": None}) == ("f", "absent", "null")
    assert first_difference({"f": None}, {"f": {}}) == ("f", "null", "{}")


def test_every_difference_is_found_at_its_depth():
    before = {"a": {"b": 1, "c": {"d": None}}, "e": 2}
    after = {"a": {"b": 2, "c": {}}, "f": 3}
    assert [difference.key for difference in differences(before, after)] == [
        "a.b",
        "a.c.d",
        "e",
        "f",
    ]
