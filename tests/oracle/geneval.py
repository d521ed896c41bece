"""Golden files of GenEval's own evaluator.

The arguments are a clone of djghosh13/geneval and the folder of an installed clip_benchmark 1.4.0.
For verdicts the detector is a stub that finds the scenes of `golden.detections`, and gives in the
place of an object's mask, which upstream hands on to the colour classifier, the name of its colour.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import runpy
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pandas
import PIL
import torch
from golden.clip import tiny
from golden.cutouts import Colours, cutouts, picture_of
from golden.detections import Scene, Verdicts, own_lines, packed, scenes, told
from golden.prompted import fill
from golden.summaries import Summaries, SummaryCase, verdicts
from pictures import pil
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from upstream import commit, function, passage

torch.set_num_threads(1)
clone, benchmark = map(Path, sys.argv[1:])
EVALUATOR = clone / "evaluation/evaluate_images.py"
ZERO_SHOT = benchmark / "metrics/zeroshot_classification.py"
CLASSES = [line.strip() for line in (clone / "evaluation/object_names.txt").open()]
UPSTREAM = f"djghosh13/geneval@{commit(clone)}"
COMMAND = "PYTHONPATH=.:tests python tests/oracle/geneval.py CLONE CLIP_BENCHMARK_FOLDER"
constants: dict[str, Any] = {}
exec(passage(EVALUATOR, "COLORS =", "COLORS ="), constants)
COLOURS = constants["COLORS"]


def evaluator() -> Callable[[dict[str, Any], Scene], dict[str, Any]]:
    """Upstream's `evaluate_image` of a line and a scene."""
    seen: list[Scene] = []

    def detect(*_: Any) -> tuple[list[np.ndarray], list[list[str]]]:
        none = np.zeros((0, 5), np.float32)
        boxes = [seen[-1].detections.get(name, none) for name in CLASSES]
        return boxes, [list(seen[-1].colours.get(name, ())) for name in CLASSES]

    position = function(EVALUATOR, "relative_position", np=np, POSITION_THRESHOLD=0.1)
    evaluate = function(
        EVALUATOR,
        "evaluate",
        relative_position=position,
        color_classification=lambda image, objects, name: [colour for _, colour in objects],
        COLORS=COLOURS,
    )
    nothing = SimpleNamespace(open=lambda path: None, exif_transpose=lambda image: None)
    # Upstream's sort leaves the order of equal scores open; a stable one is of its kind.
    stable = SimpleNamespace(argsort=lambda values: np.argsort(values, kind="stable"))
    evaluate_image = function(
        EVALUATOR,
        "evaluate_image",
        evaluate=evaluate,
        inference_detector=detect,
        object_detector=None,
        Image=nothing,
        ImageOps=nothing,
        classnames=CLASSES,
        json=json,
        np=stable,
        THRESHOLD=0.3,
        COUNTING_THRESHOLD=0.9,
        MAX_OBJECTS=16,
        NMS_THRESHOLD=1.0,
    )

    def run(line: dict[str, Any], scene: Scene) -> dict[str, Any]:
        seen[:] = [scene]
        return evaluate_image("00000.png", {"prompt": "", **line})

    return run


def parsed(line: Any, text: str) -> str:
    """Upstream's reasons as `told` writes them; no two clauses of a list are of one class."""
    reasons = []
    include, exclude = (
        [clause["class"] for clause in line.get(key, ())] for key in ("include", "exclude")
    )
    ways = "left of|right of|above|below"
    for reason in text.splitlines():
        if match := re.fullmatch(rf"no target for (.+) to be (?:{ways})", reason):
            reasons.append(told("no-target", include.index(match[1])))
        elif match := re.fullmatch(rf"expected (.+) ({ways}) target, found (.*) target", reason):
            lying = [way for way in match[3].split(" and ") if way]
            reasons.append(told("position", include.index(match[1]), match[2], lying))
        elif match := re.fullmatch(r"expected (.+)<(\d+), found (\d+)", reason):
            reasons.append(told("excess", exclude.index(match[1]), match[2], match[3]))
        elif match := re.fullmatch(r"expected (\w+) (.+)>=(\d+), found (\d+) \1; and (.+)", reason):
            counts = [count.split() for count in match[5].split(", ")]
            colours = {colour: int(count) for count, colour in counts}
            reasons.append(told("colour", include.index(match[2]), match[3], match[4], colours))
        else:
            match = re.fullmatch(r"expected (.+)>=(\d+), found (\d+)", reason)
            reasons.append(told("missing", include.index(match[1]), match[2], match[3]))
    return "; ".join(reasons)


def judged(lines: list[Any], with_reasons: bool) -> Verdicts:
    correct, reasons = [], []
    evaluate = evaluator()
    for line, scene in scenes(lines):
        result = evaluate(line, scene)
        correct.append(result["correct"])
        reasons.append(parsed(line, result["reason"]))
    texts = sorted(set(reasons)) if with_reasons else []
    number = {text: index for index, text in enumerate(texts)}
    return Verdicts(
        upstream=UPSTREAM,
        command=COMMAND,
        versions={"numpy": np.__version__},
        correct=packed(correct),
        reasons=[number[text] for text in reasons] if with_reasons else [],
        texts=texts,
    )


def summary(seed: int) -> SummaryCase:
    rows = [
        {"tag": one.tag, "metadata": one.prompt, "correct": one.correct} for one in verdicts(seed)
    ]
    printed = io.StringIO()
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file, redirect_stdout(printed):
        pandas.DataFrame(rows).to_json(file, orient="records", lines=True)
        file.flush()
        sys.argv = ["summary_scores.py", file.name]
        space = runpy.run_path(str(clone / "evaluation/summary_scores.py"))
    tags = [tag for tag, _ in space["df"].groupby("tag", sort=False)]
    return SummaryCase(
        seed=seed,
        tags=dict(zip(tags, map(float, space["task_scores"]), strict=True)),
        overall=float(np.mean(space["task_scores"])),
        printed=printed.getvalue(),
    )


def colours() -> Colours:
    encoder = open_clip.CLIP(**tiny(768), quick_gelu=True).eval()
    encoder.load_state_dict(fill(encoder.state_dict()))
    transform = open_clip.image_transform(224, is_train=False)
    tools = {"torch": torch, "F": F, "tqdm": lambda it: it, "suppress": nullcontext}
    run = function(ZERO_SHOT, "run_classification", **tools)
    make = function(ZERO_SHOT, "zero_shot_classifier", **tools)
    classifiers: dict[str, torch.Tensor] = {}
    images: list[Image.Image] = []
    logits: list[torch.Tensor] = []

    def classify(*arguments: Any) -> Any:
        # Without autocast, which upstream's default asks of CUDA.
        result = run(*arguments, amp=False)
        logits.append(result[0][0])
        return result

    def keep(image: Image.Image) -> torch.Tensor:
        images.append(image)
        return transform(image)

    space: dict[str, Any] = {
        "args": SimpleNamespace(options={}),
        "torch": SimpleNamespace(
            utils=SimpleNamespace(
                data=SimpleNamespace(
                    Dataset=Dataset,
                    DataLoader=lambda crops, batch_size, num_workers: DataLoader(crops, batch_size),
                )
            ),
            no_grad=torch.no_grad,
        ),
        "Image": Image,
        "transform": keep,
        "zsc": SimpleNamespace(
            zero_shot_classifier=partial(make, amp=False), run_classification=classify
        ),
        "clip_model": encoder,
        "tokenizer": open_clip.get_tokenizer("ViT-L-14-quickgelu"),
        "COLORS": COLOURS,
        "COLOR_CLASSIFIERS": classifiers,
        "DEVICE": "cpu",
    }
    text = EVALUATOR.read_text("utf-8")
    exec(text[text.index("class ImageCrops") : text.index("def compute_iou")], space)
    # Pillow now compares a box with a tuple, for which upstream's array is no match.
    names = [
        space["color_classification"](pil(picture_of(one)), [(tuple(one.box), one.mask)], one.name)[
            0
        ]
        for one in cutouts()
    ]
    return Colours(
        upstream=f"{UPSTREAM}, clip_benchmark 1.4.0",
        command=COMMAND,
        versions={
            "torch": torch.__version__,
            "open_clip": open_clip.__version__,
            "pillow": PIL.__version__,
        },
        sizes=[image.size for image in images],
        pixels=[hashlib.sha256(image.tobytes()).hexdigest() for image in images],
        # Every 48th of the 768 numbers, of each colour.
        classifiers={
            name: [[round(value, 7) for value in row[::48].tolist()] for row in classifier.T]
            for name, classifier in classifiers.items()
        },
        cosines=[[round(float(value) / 100, 7) for value in row] for row in logits],
        names=names,
    )


official = [json.loads(line) for line in (clone / "prompts/evaluation_metadata.jsonl").open()]
judged(own_lines(), with_reasons=True).write("own")
judged(official, with_reasons=False).write("official")
Summaries(
    upstream=UPSTREAM,
    command=COMMAND,
    versions={"pandas": pandas.__version__},
    cases=[summary(seed) for seed in range(4)],
).write()
colours().write()
