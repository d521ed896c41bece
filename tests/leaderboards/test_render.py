"""Tables as Markdown, CSV, LaTeX and JSON: what is in them, and that text stays text."""

import csv
import io
import json
import re
import shutil
import subprocess

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import METRIC, made
from markdown_it import MarkdownIt

from leaderboards.across import across
from leaderboards.assemble import assemble
from leaderboards.latex import escape
from leaderboards.published import published
from leaderboards.render import FORMATS, comma_separated, escape_markdown, json_text, markdown
from leaderboards.render import latex_tables as latex
from leaderboards.tables import tables
from rewardkit.errors import UsageError

NASTY = [
    "a|b",
    "under_score__x_",
    "A&B",
    "<script>alert(1)</script>",
    "two\nlines",
    "*bold* `code` [link](x) ~~no~~ $x$ ~tilde",
    r"back\slash \textbf{x} {braces} 100% #1 ^hat",
    "# heading",
    "- item",
    "1. one",
    "naïve Müller PixArt-\N{GREEK SMALL LETTER ALPHA} Ωmega",
    "日本 🎉 \u202eright to left",
    '"quoted", with comma',
    "--- ' '' `` \"",
    "=1+1",
    "&amp; &lt;",
    "\\\\",
]


def shown(*names, **first):
    return tables(
        assemble([made(name, 0.1 + 0.02 * place, **first) for place, name in enumerate(names)])
    )


def parsed(text):
    """The tables of Markdown, as GitHub reads it: rows of the plain text of cells."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    found = []
    for token in tokens:
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level > 3:
            found[-1][-1].append("".join(child.content for child in token.children))
    return found


def html(text):
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)


def line(name):
    return " ".join(name.split())


def test_markdown_is_a_table():
    text = markdown(shown("alpha", "beta"))
    (rows,) = parsed(text)
    assert rows[0][:3] == ["rank", "model", "score"]
    assert rows[1][:3] == ["1", "beta", "0.130 (0.126 .. 0.133)"]
    assert rows[2][:2] == ["2", "alpha"]
    assert "| **0.130** (" in text


def test_a_table_is_a_data_frame_of_full_precision():
    (table,) = shown("alpha", "beta")
    (board,) = json.loads(json_text([table]))["tables"]
    frame = table.frame()
    assert frame["model"].tolist() == ["beta", "alpha"]
    assert frame["score"].tolist() == [row["score"] for row in board["rows"]]


def test_the_highest_of_a_column_is_bold_and_so_is_what_looks_like_it():
    table = tables(
        assemble([made("alpha", 0.5), made("beta", 0.50001), made("gamma", 0.4),
                  made("part", lambda task, index, sample: 9.0 if index else None)])
    )[0]  # fmt: skip
    best = {row[1].text: row[2].best for row in table.rows}
    assert best == {"alpha": True, "beta": True, "gamma": False, "part": False}


def test_one_model_alone_is_not_the_best():
    (table,) = shown("alpha")
    assert not any(cell.best for row in table.rows for cell in row)


@pytest.mark.parametrize("name", NASTY)
def test_a_name_stays_text_in_markdown(name):
    text = markdown(shown(name, "plain"))
    (rows,) = parsed(text)
    assert {row[1] for row in rows[1:]} == {line(name), "plain"}
    assert {len(row) for row in rows} == {len(rows[0])}
    assert "<script" not in html(text)
    assert not re.search(r"<(em|code|a|s|h\d|ol)\b", html(text))


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_stays_text_in_a_cell_of_markdown(name):
    text = f"| a | b |\n|---|---|\n| {escape_markdown(name)} | end |\n"
    (rows,) = parsed(text)
    # A parser may not show what no text holds.
    seen = name.replace("\0", "\ufffd")
    assert rows[1] == [line(seen), "end"]
    assert not re.search(r"<(?!/?(table|thead|tbody|tr|th|td)\b)", html(text))


@pytest.mark.parametrize("name", ["# one", "- one", "+ one", "1. one", "2) one", "one\n- two"])
def test_a_note_of_a_model_named_like_markdown_stays_text(name):
    partly = made(name, lambda task, index, sample: 1.0 if index else None)
    text = html(markdown(tables(assemble([partly, made("alpha")]))))
    assert f"<li>{line(name)} is not ranked: incomplete: 46 of 48 pictures.</li>" in text


def test_csv_goes_through_pandas_and_back():
    found = shown(*NASTY)
    text = comma_separated(found)
    # Before version 3, pandas' own reading of floats is not exact.
    exact = dict.fromkeys(("score", "counting_low"), float)
    table = pandas.read_csv(io.StringIO(text), keep_default_na=False, converters=exact)
    # What a spreadsheet would compute is marked as text.
    table["model"] = [
        name.removeprefix("'") if name[1:] in NASTY else name for name in table["model"]
    ]
    assert sorted(table["model"]) == sorted(NASTY)
    rows = {row["model"]: row for row in json.loads(json_text(found))["tables"][0]["rows"]}
    for _, row in table.iterrows():
        # Full precision: the very same numbers.
        assert row["score"] == rows[row["model"]]["score"]
        assert row["counting_low"] == rows[row["model"]]["counting_low"]
        assert row["rank_best"] == rows[row["model"]]["rank_best"]
    assert table["trained_on_metric"].dtype == bool
    assert table.to_csv(index=False, lineterminator="\n").count("\n") == text.count("\n")


def test_csv_of_several_boards_is_one_table():
    results = [made("alpha"), made("beta", 0.9), made("alpha", benchmark="exam", metric="other")]
    table = pandas.read_csv(io.StringIO(comma_separated(tables(assemble(results, published())))))
    assert set(table["kind"]) == {"measured", "published"}
    assert {"quiz", "exam", "geneval", "hps.v2.1"} <= set(table["benchmark"])
    assert table[table["kind"] == "published"]["source"].notna().all()
    assert table[table["kind"] == "published"]["rank_best"].isna().all()


def test_json_holds_everything():
    (board,) = json.loads(json_text(shown("alpha", "beta")))["tables"]
    assert board["benchmark"] == "quiz"
    assert (board["metric"], board["kind"], board["version"]) == (METRIC, "measured", "1")
    first = board["rows"][0]
    assert first["model"] == "beta"
    assert first["rank_best"] == first["rank_worst"] == 1
    assert first["score"] == pytest.approx(0.13)
    assert first["score_low"] < first["score"] < first["score_high"]
    assert first["made_steps"] == "20"
    assert first["trained_on_metric"] is False


@pytest.mark.parametrize("form", FORMATS)
def test_a_mark_of_training_survives_every_format(form):
    trained = {"trained_on": {"reward": f"{METRIC}+other"}}
    found = tables(assemble([made("alpha", model=trained), made("beta")]))
    text = FORMATS[form](found)
    if form == "csv":
        table = pandas.read_csv(io.StringIO(text), index_col="model")
        assert dict(table["trained_on_metric"]) == {"alpha": True, "beta": False}
    elif form == "json":
        rows = json.loads(text)["tables"][0]["rows"]
        assert {row["model"]: row["trained_on_metric"] for row in rows} == {
            "alpha": True,
            "beta": False,
        }
    else:
        mark = {"md": "alpha †", "latex": r"alpha\textsuperscript{\ensuremath{\dagger}}"}[form]
        assert mark in text
        assert "which measures it here" in text
        assert "beta †" not in text


@pytest.mark.parametrize("form", FORMATS)
def test_marks_stand_also_where_only_names_and_scores_are_asked_for(form):
    found = assemble([made("alpha"), made("beta"), made("gamma", steps=50)])
    text = FORMATS[form](tables(found, ["model", "score"]))
    mark = {"md": "gamma ≠", "latex": r"gamma\textsuperscript{\ensuremath{\neq}}"}
    assert mark.get(form, "steps 50") in text


def test_a_model_trained_on_another_reward_of_the_benchmark_has_another_mark():
    trained = {"trained_on": {"reward": "second"}}
    text = markdown(tables(assemble([made("alpha", model=trained), made("beta")])))
    assert "alpha ‡" in text
    assert "‡ was trained on another reward of this benchmark." in text
    assert "†" not in text


def test_published_numbers_keep_their_digits_and_have_a_table_of_their_own():
    rows = [row for row in published() if row.benchmark == "geneval"]
    (table,) = tables(assemble([], rows))
    texts = {row[0].text: row[1].text for row in table.rows}
    assert texts["SD 2.1"] == "0.50"
    assert texts["SD1.4 (as DanceGRPO prints)"] == "0.421"
    assert "published, not measured here" in markdown([table])
    assert not any(cell.best or cell.interval for row in table.rows for cell in row)


def test_columns_are_those_that_are_asked_for():
    board = assemble([made("alpha"), made("beta", 0.9)])

    def names(*columns):
        return [column.name for column in tables(board, columns)[0].columns]

    assert names() == [
        "rank", "model", "score", "colors", "counting", "second", "pictures", "trained-on",
        "made-with",
    ]  # fmt: skip
    assert names("score", "model") == ["score", "model"]
    assert names("counting", "second") == ["model", "counting", "second"]
    assert names("model", "metrics", "created") == ["model", "second", "created"]
    with pytest.raises(UsageError, match="Did you mean 'counting'"):
        names("countin")


def test_models_across_boards_are_a_table():
    results = [
        made(name, value, benchmark=benchmark)
        for benchmark in ("quiz", "exam")
        for name, value in (("alpha", 0.9), ("beta", 0.1))
    ]
    only = made("gamma")
    (table,) = across(assemble([*results, only]))
    (rows,) = parsed(markdown([table]))
    assert rows == [
        ["model", "mean rank", "win rate", f"exam ({METRIC})", f"quiz ({METRIC})"],
        ["alpha", "1.00", "1.000", "1", "1"],
        ["beta", "2.00", "0.000", "2", "2"],
    ]
    assert table.footnotes == (f"gamma does not stand here: it has no rank on exam ({METRIC}).",)
    assert "mean_rank" in comma_separated([table])


def test_latex_is_a_table_of_booktabs():
    text = latex(shown("alpha", "beta_2"))
    assert r"\toprule" in text and r"\bottomrule" in text
    assert r"1 & beta\_2 & \textbf{0.130} \ensuremath{\pm} 0.003 & \textbf{" in text
    rows = re.findall(r"^    (.*) \\\\$", text, re.M)
    assert {row.count(" & ") for row in rows} == {8}


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_latex_of_any_text_is_plain_and_ends_nothing(name):
    text = escape(name)
    assert text.isascii() and text.isprintable()
    bare = re.sub(r"\\([{}$&#%_]|[`'^~=.\"]|[A-Za-z]+)", "", text)
    assert not re.search(r"[$&#%_~^<>|\\]", bare)
    assert bare.count("{") == bare.count("}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("PixArt-\N{GREEK SMALL LETTER ALPHA}", r"PixArt-\ensuremath{\alpha}"),
        ("Ω \N{GREEK CAPITAL LETTER ALPHA}", r"\ensuremath{\Omega} \texttt{U+0391}"),
        ("Müller", r"M\"{u}ller"),
        ("naïve", r"na\"{\i{}}ve"),
        ("a--b", "a-{-}b"),
        ("*one [two]", "{*}one {[}two{]}"),
        ("🎉", r"\texttt{U+1F389}"),
        ("x\ny", "x y"),
    ],
)
def test_latex_sets_letters_with_its_own_fonts(name, message):
    assert escape(name) == message


@pytest.mark.slow
def test_latex_compiles(tmp_path):
    assert shutil.which("pdflatex"), "pdflatex is not installed: apt install texlive-latex-base"
    board = assemble(
        [made(name, 0.1 + 0.02 * place) for place, name in enumerate(NASTY)]
        + [made("half", lambda task, index, sample: 1.0 if index else None)],
        published(),
    )
    body = latex(tables(board, ["model", "score", "rank", "tasks"]))
    every = " ".join(escape(chr(code)) for code in [*range(32, 0x250), *range(0x370, 0x3D0)])
    document = "\n".join(
        [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", body, every,
         r"\clearpage", r"\end{document}"]
    )  # fmt: skip
    (tmp_path / "table.tex").write_text(document, "utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in (tmp_path / "table.log").read_text("latin-1")
    assert (tmp_path / "table.pdf").stat().st_size > 10_000


FORMULAS = [
    "=cmd|'/c calc'!A1",
    "@SUM(1)",
    "+1+1",
    "-2+3",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    "\uff1d1",
]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_name_is_a_formula_in_a_spreadsheet(name):
    rows = list(csv.reader(io.StringIO(comma_separated(shown(name, "beta"))), strict=True))
    cells = [cell for row in rows for cell in row]
    assert "'" + name.replace("\r", "\n") in cells and name not in cells


@given(st.text(st.sampled_from("=+-@\t\r\n '\"1a,"), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_cells_of_csv_are_numbers_or_no_formulas(name):
    for row in csv.reader(io.StringIO(comma_separated(shown(f"{name}x", "beta")), newline="")):
        for cell in row:
            if cell.lstrip()[:1] in tuple("=+-@") or cell[:1] in ("\t", "\r", "\n"):
                float(cell)


def test_numbers_of_csv_stay_numbers():
    found = [made("alpha", -0.5, guidance=-1.0), made("beta", -0.9)]
    first, _ = csv.DictReader(io.StringIO(comma_separated(tables(assemble(found)))))
    assert float(first["score"]) == pytest.approx(-0.49) and first["made_guidance"] == "-1.0"
