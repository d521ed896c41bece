"""Prints the lower bounds of pyproject.toml as pip's constraints: the oldest versions promised.

`dev` is left out: nobody but developers installs it, and they install constraints.txt's versions.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
USERS = {**PROJECT["optional-dependencies"], "core": PROJECT["dependencies"]}
del USERS["dev"]

for requirement in sorted({requirement for extra in USERS.values() for requirement in extra}):
    if bound := re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement):
        print("==".join(bound.groups()))
