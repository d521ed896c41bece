"""What more VideoAlign rewards cost than one, and the memory of a large folder: `make perf`.

The network is small and random: it costs less than the real one, so what is not the network shows.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from golden.media import clip
from made_rewards import scorer
from perf.scoring import paired, seconds

from rewardkit.engine import items
from rewardkit.engine.folder import score_folder
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.media.clips import write_clip

FOUR = [f"videoalign.{tag}" for tag in ("vq", "mq", "ta", "overall")]
CLIPS = 8
FILES = int(sys.argv[1]) if len(sys.argv) > 1 else 1000


def resident() -> float:
    """Memory of this process without the pages of files, in MiB."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def main() -> None:
    """Prints a line per comparison."""
    loader = Loader("cpu", tiny=True)
    rewards = {name: entry(name).cls.load(entry(name).card, loader) for name in FOUR}
    media = [clip(seed, (64, 96), 24, 8.0) for seed in range(CLIPS)]
    one, four = scorer(rewards[FOUR[0]]), scorer(*rewards.values())
    one(media, "a cat")  # the first forward is slower
    four_seconds, one_seconds, ratio = paired(
        lambda: seconds(lambda: four(media, "a cat")), lambda: seconds(lambda: one(media, "a cat"))
    )
    print(
        f"{CLIPS} clips: {len(FOUR)} rewards {four_seconds:.2f} s, one {one_seconds:.2f} s: "
        f"{ratio:.3f} x",
        flush=True,
    )

    real = Loader.__init__
    Loader.__init__ = lambda self, *a, **k: real(self, *a, **k, tiny=True)
    items._made_by = lambda *_: {}
    with tempfile.TemporaryDirectory() as name:
        first = Path(name, "00000.mp4")
        write_clip(media[0], first)
        for index in range(1, FILES):
            os.link(first, Path(name, f"{index:05d}.mp4"))
        start = time.perf_counter()

        def progress(now: items.Progress) -> None:
            if now.done and now.done % (FILES // 10) < 32:
                print(
                    f"  {now.done} of {FILES} clips, {time.perf_counter() - start:.0f} s: "
                    f"{resident():.0f} MiB",
                    flush=True,
                )

        spec = "+".join(FOUR)
        report = score_folder(name, spec, prompt="a cat", kind="video", on_progress=progress)
    assert report.failed == 0


if __name__ == "__main__":
    main()
