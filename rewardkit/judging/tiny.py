"""A made-up judge for tests, as tiny networks are: an endpoint in this process, without a model.

Its answers go through the real client and the real parser; they depend on the request alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from rewardkit.judging.model import JudgeModel
from rewardkit.judging.template import JudgeTemplate
from rewardkit.service import Service

if TYPE_CHECKING:
    import httpx2

_NAME = "made-up"


def tiny_model(template: JudgeTemplate) -> JudgeModel:
    """A model that gives any question of a template an answer that the template can read."""
    import httpx2

    def answer(request: httpx2.Request) -> httpx2.Response:
        question = json.loads(request.content)["messages"][0]["content"][-1]["text"]
        digest = hashlib.sha256(request.content).digest()
        share = int.from_bytes(digest[:4], "big") / 2**32
        choice = {"finish_reason": "stop", **template.example(share, question)}
        return httpx2.Response(200, json={"model": _NAME, "choices": [choice]})

    transport = httpx2.MockTransport(answer)
    service = Service("http://made-up.invalid", alive="models", transport=transport)
    return JudgeModel(service, _NAME, _NAME, None)
