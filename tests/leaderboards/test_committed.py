"""Blocks of Markdown files that hold tables."""

import pytest

from leaderboards.committed import blocks, rewritten
from rewardkit.errors import InputError

TEXT = """# Title

<!-- leaderboard: results/ --columns rank,model -->
old
older
<!-- end of leaderboard -->

```
<!-- leaderboard: shown as an example -->
```

~~~~markdown
```
<!-- end of leaderboard -->
~~~~

<!-- leaderboard: other -->
<!-- end of leaderboard -->
end without a newline"""


def written(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text, "utf-8")
    return path


def test_blocks_are_found_outside_of_code(tmp_path):
    first, second = blocks(written(tmp_path, TEXT))
    assert (first.request, first.text) == ("results/ --columns rank,model", "old\nolder\n")
    assert (second.request, second.text) == ("other", "")
    assert str(first).endswith("README.md, line 3")


def test_what_is_around_blocks_is_kept(tmp_path):
    path = written(tmp_path, TEXT)
    first, second = blocks(path)
    assert rewritten(path, {}) == TEXT
    text = rewritten(path, {first: "one\ntwo\n", second: "three\n"})
    assert text == TEXT.replace("old\nolder\n", "one\ntwo\n").replace(
        "other -->\n", "other -->\nthree\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n<!-- leaderboard: results -->\n", "line 2: the block does not end"),
        ("<!-- end of leaderboard -->\n", "line 1: .* has no partner"),
        (
            "<!-- leaderboard: a -->\n<!-- leaderboard: b -->\n<!-- end of leaderboard -->\n",
            "line 2: .* has no partner",
        ),
    ],
)
def test_a_block_without_its_other_end_is_a_failure(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        blocks(written(tmp_path, text))


def test_a_file_that_is_no_text_is_a_failure(tmp_path):
    path = tmp_path / "README.md"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as Markdown"):
        blocks(path)
