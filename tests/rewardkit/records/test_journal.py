import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits import files_up_to

from rewardkit.errors import InputError
from rewardkit.records.journal import Journal

HEADER = {"spec": "hps+clip", "version": 1}


def test_a_journal_goes_on_where_it_was_closed(tmp_path):
    path = tmp_path / "deep" / "run.journal"
    with Journal.open(path, HEADER) as journal:
        assert journal.rows == []
        journal.append([{"id": "a", "score": None}, {"id": "b", "score": 0.5}])
    with Journal.open(path, HEADER) as journal:
        journal.append([{"id": "c\n\u2028"}])
    header, rows = Journal.read(path)
    assert header == HEADER
    assert rows == [{"id": "a", "score": None}, {"id": "b", "score": 0.5}, {"id": "c\n\u2028"}]
    assert path.read_bytes().count(b"\n") == 3  # the header and two batches


def test_what_append_returned_from_is_in_the_file_before_it_is_closed(tmp_path):
    with Journal.open(tmp_path / "j", HEADER) as journal:
        journal.append([{"id": "a"}])
        assert Journal.read(tmp_path / "j")[1] == [{"id": "a"}]


@given(st.integers(min_value=1))
@settings(max_examples=50, deadline=None)  # each example waits for the disk
def test_a_journal_cut_anywhere_loses_only_the_batches_it_was_cut_in(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "j"
    batches = [[{"id": "é"}], [{"id": 1}, {"id": 2}], []]
    with Journal.open(path, HEADER) as journal:
        for batch in batches:
            journal.append(batch)
    content = path.read_bytes()
    header_length = content.index(b"\n") + 1
    length = header_length + cut % (len(content) - header_length)
    path.write_bytes(content[:length])
    whole = content[header_length:length].count(b"\n")
    expected = [row for batch in batches[:whole] for row in batch]
    assert Journal.read(path)[1] == expected
    assert path.stat().st_size == length  # reading changes nothing
    with Journal.open(path, HEADER) as journal:
        assert journal.rows == expected
        journal.append([{"id": "after"}])
    assert Journal.read(path)[1] == [*expected, {"id": "after"}]


def test_a_journal_of_another_header_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "j"
    Journal.open(path, HEADER).close()
    content = path.read_bytes() + b'[{"torn'
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'spec = "hps\+clip", not "clip"'):
        Journal.open(path, {**HEADER, "spec": "clip"})
    assert path.read_bytes() == content


def test_a_header_is_compared_as_the_json_it_becomes(tmp_path):
    Journal.open(tmp_path / "j", {"size": (1, 2)}).close()
    Journal.open(tmp_path / "j", {"size": [1, 2]}).close()
    with pytest.raises(InputError, match=r"size = \[1, 2\], not \[1, 3\]"):
        Journal.open(tmp_path / "j", {"size": (1, 3)})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a user's notes, without a line end", "first line is not a JSON object"),
        (b"[1]\n", "first line is not a JSON object"),
        (b'{"spec": "hps+clip", "version": 1}\n\x00\x00\n[]\n', "line 2 is not a JSON list"),
        (b'{"spec": "hps+clip", "version": 1}\n{"id": "a"}\n', "line 2 is not a JSON list"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(tmp_path, content, reason):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        Journal.open(path, HEADER)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_journal_and_a_missing_one_is_not_read(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        Journal.read(tmp_path / "j")
    (tmp_path / "j").touch()
    Journal.open(tmp_path / "j", HEADER).close()
    assert Journal.read(tmp_path / "j") == (HEADER, [])


def test_a_nan_is_refused_and_the_journal_goes_on(tmp_path):
    with Journal.open(tmp_path / "j", HEADER) as journal:
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.append([{"score": float("inf")}])
        journal.append([{"score": None}])
    assert Journal.read(tmp_path / "j")[1] == [{"score": None}]


def test_appending_brings_the_file_to_the_disk_about_once_a_second(tmp_path, monkeypatch):
    synced, clock = [], [0.0]
    journal = Journal.open(tmp_path / "j", HEADER)
    journal.close()
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    journal = Journal.open(tmp_path / "j", HEADER)
    for clock[0] in (0.1, 0.9, 1.1, 1.2, 2.0, 2.2):
        journal.append([])
    assert len(synced) == 2  # at 1.1 and at 2.2, each the first a second after the last
    journal.close()
    assert len(synced) == 3


WRITER = """
import sys
from rewardkit.records.journal import Journal

journal = Journal.open(sys.argv[1], {"spec": "x"})
number = len(journal.rows) // 3
while True:
    rows = [{"batch": number, "row": row, "text": "x" * 3000} for row in range(3)]
    journal.append(rows)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


def test_a_killed_writer_loses_no_batch_that_append_returned_from(tmp_path):
    path, seconds = tmp_path / "j", random.Random(0)
    acknowledged = -1
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            acknowledged = int(writer.stdout.readline())
            # The writer stops when the pipe is full, 64 KiB: long after the longest of these.
            time.sleep(seconds.uniform(0.0, 0.1))
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split("\n")[:-1])])
        rows = Journal.read(path)[1]
        batches = len(rows) // 3
        # One batch more than acknowledged may be there: killed between append and the print.
        assert batches - 1 in (acknowledged, acknowledged + 1)
        assert [(row["batch"], row["row"]) for row in rows] == [
            (batch, row) for batch in range(batches) for row in range(3)
        ]


def test_a_second_writer_is_refused(tmp_path):
    with (
        Journal.open(tmp_path / "j", {"a": 1}) as journal,
        pytest.raises(InputError, match="being written by another process"),
    ):
        Journal.open(tmp_path / "j", {"a": 1})
    journal.close()
    Journal.open(tmp_path / "j", {"a": 1}).close()


def test_a_batch_that_does_not_fit_leaves_the_journal_whole(tmp_path):
    path = tmp_path / "a.journal"
    with Journal.open(path, HEADER) as journal:
        journal.append([{"id": "a"}])
        before = path.read_bytes()
        with files_up_to(len(before) + 5), pytest.raises(InputError, match="larger than the limit"):
            journal.append([{"id": "b" * 100}])
        assert path.read_bytes() == before
        journal.append([{"id": "c"}])
    with Journal.open(path, HEADER) as again:
        assert again.rows == [{"id": "a"}, {"id": "c"}]


FOREIGN = ["[[]]", '["a"]', "[1]", "{}", "7", "null", "[" * 100_000, '[{"id": NaN}, 3]']


@pytest.mark.parametrize("line", FOREIGN, ids=lambda line: line[:20])
def test_a_line_that_is_no_batch_of_rows_is_refused_with_its_number(tmp_path, line):
    path = tmp_path / "a.journal"
    path.write_text(f"{json.dumps(HEADER)}\n[]\n{line}\n[]\n")
    with pytest.raises(InputError, match=r"not a journal of rewardkit: line 3.*delete this one"):
        Journal.open(path, HEADER)
