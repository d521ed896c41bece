r"""A table as LaTeX, for `\usepackage{booktabs}`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from leaderboards.cells import Cell
from leaderboards.tables import BoardTable

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # From a font that has it in the oldest encoding too.
    '"': r"\texttt{\char34}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    # These belong to what ends a row, where they follow it.
    "*": "{*}",
    "[": "{[}",
    "]": "{]}",
    "\u2013": "--",
    "\u2014": "---",
    "\u2019": r"\textquoteright{}",
    "\u2018": r"\textquoteleft{}",
    "\u201c": r"\textquotedblleft{}",
    "\u201d": r"\textquotedblright{}",
    "·": r"\textperiodcentered{}",
    "…": r"\dots{}",
    "\u00d7": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "≠": r"\ensuremath{\neq}",
    "†": r"\ensuremath{\dagger}",
    "‡": r"\ensuremath{\ddagger}",
}
# Greek letters that have a command; the others look like Latin ones.
_CAPITALS = {
    "gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega",
}  # fmt: skip
_SMALL = _CAPITALS | {
    "alpha", "beta", "epsilon", "zeta", "eta", "iota", "kappa", "mu", "nu", "rho", "tau", "chi",
}  # fmt: skip
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def latex(table: BoardTable) -> str:
    """The table: best values bold, intervals as half their width, notes below."""
    alignment = "".join("r" if column.number else "l" for column in table.columns)
    heads = " & ".join(escape(column.name) for column in table.columns)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape(table.title)}: {escape(table.about)}.}}",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        rf"    {heads} \\",
        r"    \midrule",
        *(rf"    {' & '.join(map(_cell, row))} \\" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *(rf"  \par\footnotesize {escape(note)}" for note in table.footnotes),
        r"\end{table}",
    ]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Text that any engine sets, with its own fonts; what they lack is shown as its code point."""
    return "".join(_letters(" ".join(text.split())))


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.best:
        text = rf"\textbf{{{text}}}"
    if cell.interval is not None:
        text = rf"{text} \ensuremath{{\pm}} {escape(cell.interval[0])}"
    marks = "".join(map(escape, cell.marks))
    return f"{text}\\textsuperscript{{{marks}}}" if marks else text


def _letters(text: str) -> Iterator[str]:
    for before, letter in pairwise(f" {text}"):
        if letter in _SPECIAL:
            yield _SPECIAL[letter]
        elif letter == before == "-":
            yield "{-}"  # two together are a dash
        elif letter.isascii():
            yield letter if letter.isprintable() else ""
        else:
            yield _foreign(letter)


def _foreign(letter: str) -> str:
    """A letter that is not ASCII."""
    words = unicodedata.name(letter, "").casefold().split()
    if len(words) == 4 and words[0] == "greek" and words[2] == "letter":
        return _greek(words[3], words[1] == "capital") or _code_point(letter)
    base, *accents = list(unicodedata.normalize("NFD", letter))
    if base.isascii() and base.isalpha() and len(accents) == 1 and accents[0] in _ACCENTS:
        # The dotless ones, over which an accent can stand.
        stem = rf"\{base}{{}}" if base in "ij" and accents[0] != "\u0327" else base
        return rf"\{_ACCENTS[accents[0]]}{{{stem}}}"
    return _code_point(letter)


def _greek(name: str, capital: bool) -> str | None:
    name = {"lamda": "lambda"}.get(name, name)
    if name not in (_CAPITALS if capital else _SMALL):
        return None
    return rf"\ensuremath{{\{name.capitalize() if capital else name}}}"


def _code_point(letter: str) -> str:
    return rf"\texttt{{U+{ord(letter):04X}}}"
