"""Golden files of jpeg-* by DDPO's own code; the argument is a clone of kvablack/ddpo-pytorch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.features
from golden.cases import Case, Golden
from golden.media import SIZES, picture

checkout = Path(sys.argv[1])
commit = subprocess.check_output(["git", "-C", checkout, "rev-parse", "HEAD"], text=True).strip()
spec = importlib.util.spec_from_file_location("rewards", checkout / "ddpo_pytorch/rewards.py")
rewards = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rewards)

for name in ("jpeg-compressibility", "jpeg-incompressibility"):
    upstream = getattr(rewards, name.replace("-", "_"))()
    cases = []
    for seed, size in enumerate(SIZES):
        pixels = picture(seed, size)
        # As a trainer hands them over (floats in 0..1) and as 8-bit arrays: the same picture.
        as_floats, _ = upstream(pixels[None] / 255, None, None)
        as_levels, _ = upstream(pixels[None].permute(0, 2, 3, 1).numpy(), None, None)
        np.testing.assert_array_equal(as_floats, as_levels)
        medium = {"kind": "picture", "seed": seed, "size": size}
        cases.append(Case(medium=medium, score=as_levels[0], atol=1e-6))
    Golden(
        reward=name,
        upstream=f"kvablack/ddpo-pytorch@{commit} ddpo_pytorch/rewards.py",
        command="PYTHONPATH=.:tests python tests/oracle/ddpo_jpeg.py CLONE",
        versions={
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "libjpeg-turbo": PIL.features.version("libjpeg_turbo"),
        },
        cases=cases,
    ).write()
