"""GenEval's classes, colours, relations and tasks, each list in upstream order.

Source: https://github.com/djghosh13/geneval (MIT), evaluation/object_names.txt and
evaluation/evaluate_images.py; Ghosh, Hajishirzi and Schmidt 2023, https://arxiv.org/abs/2310.11513.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Tag: TypeAlias = Literal[
    "single_object", "two_object", "counting", "colors", "position", "color_attr"
]
Relation: TypeAlias = Literal["left of", "right of", "above", "below"]

TAGS: tuple[Tag, ...] = (
    "single_object",
    "two_object",
    "counting",
    "colors",
    "position",
    "color_attr",
)

# COCO's 80 classes in COCO's order, which detectors use. Three have longer names than in COCO:
# "computer mouse", "tv remote" and "computer keyboard".
# fmt: off
CLASSES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "computer mouse", "tv remote",
    "computer keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator",
    "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on

COLOURS: tuple[str, ...] = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
)
