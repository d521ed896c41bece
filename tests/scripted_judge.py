"""A scripted endpoint that judges pictures: the brighter, the likelier it says yes."""

import base64
import io
import json
import math

import numpy as np
from PIL import Image
from scripted_endpoint import Reply

MODELS = {"data": [{"id": "judge-8b", "root": "/models/judge"}]}


def images(body):
    """The pictures in a request, as arrays."""
    found = []
    for part in body["messages"][0]["content"]:
        if part["type"] == "image_url":
            head, _, data = part["image_url"]["url"].partition(",")
            assert head == "data:image/png;base64"
            found.append(np.array(Image.open(io.BytesIO(base64.b64decode(data)))))
    return found


def question(body):
    return body["messages"][0]["content"][-1]["text"]


def says(text, model="judge-8b", **choice):
    choice = {"message": {"content": text}, "finish_reason": "stop", **choice}
    return Reply({"model": model, "choices": [choice]})


def yes(probability, model="judge-8b"):
    top = [("Yes", probability), ("No", 1 - probability)]
    likely = [{"token": token, "logprob": math.log(p)} for token, p in top]
    return says("Yes", model, logprobs={"content": [{"top_logprobs": likely}]})


def brightness(body):
    return float(np.mean([picture.mean() for picture in images(body)])) / 256 + 1 / 512


def judge(endpoint, play=lambda number, body: yes(brightness(body))):
    """Makes an endpoint a judge."""
    endpoint.play = play
    endpoint.get = lambda path: Reply(MODELS)
    return endpoint


def save_greys(folder, number):
    """Pictures of growing brightness, with prompts; the names are their grey levels."""
    folder.mkdir(exist_ok=True)
    lines = []
    for level in range(number):
        picture = np.full((6, 8, 3), level % 256, np.uint8)
        picture[0, 0] = level // 256
        Image.fromarray(picture).save(folder / f"{level:04d}.png")
        lines.append({"path": f"{level:04d}.png", "prompt": f"grey {level}"})
    manifest = folder / "m.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return manifest
