"""The scripts of others that the page carries: from installed packages, never from a network."""

from __future__ import annotations

import gzip
from base64 import b64encode
from functools import cache


@cache
def datatables() -> str:
    """DataTables, as itables carries it: an ES module as an address that holds its own text."""
    from itables.utils import read_package_file

    text = read_package_file("html", "dt_bundle.js")
    return f"data:text/javascript;base64,{b64encode(text.encode()).decode()}"


@cache
def plotly() -> str:
    """Plotly's script, gzipped, as base64: a third of it, and unpacked where a plot is drawn."""
    from plotly.offline import get_plotlyjs

    return b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
