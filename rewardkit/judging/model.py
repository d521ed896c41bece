"""The model behind an endpoint: its name, what the endpoint reports of it, and calls to it."""

from __future__ import annotations

import os
import threading
from typing import Any, Self, final
from urllib.parse import urlsplit

from rewardkit.errors import RewardUnavailable, UsageError, unknown
from rewardkit.judging.cache import AnswerCache
from rewardkit.judging.completion import Completion
from rewardkit.service import CallError, Endpoint, Service


@final
class JudgeModel:
    """A model that answers chat completions.

    Args:
        service: its endpoint.
        name: as requests name it.
        reported: as the endpoint lists it; of vLLM, with the place of its weights.
        cache: of its answers; None keeps none.

    Attributes:
        service: see above, as `name`, `reported` and `cache`.
    """

    def __init__(
        self, service: Service, name: str, reported: str, cache: AnswerCache | None
    ) -> None:
        self.service = service
        self.name = name
        self.reported = reported
        self.cache = cache
        self._answering: str | None = None
        self._lock = threading.Lock()

    @classmethod
    def at(cls, endpoint: Endpoint) -> Self:
        """The model that the endpoint names, or the only one it serves.

        Raises:
            UsageError: the endpoint serves no such model, or several and none is named; or the key
                in the environment cannot be sent.
            RewardUnavailable: the endpoint cannot be reached, or does not list its models.
        """
        service = Service(
            endpoint.url,
            alive="models",
            key=_key(endpoint.url),
            concurrency=endpoint.concurrency,
            timeout=endpoint.timeout,
        )
        try:
            models = service.call("models", then=_models).result()
        except (CallError, RewardUnavailable) as error:
            raise RewardUnavailable(
                f"{error}. --endpoint takes the base address of an OpenAI-compatible endpoint, "
                "which mostly ends in /v1. Its key, if it has one, is read from the environment "
                "variable REWARDKIT_ENDPOINT_KEY"
            ) from error
        name = endpoint.model
        if name is None and len(models) == 1:
            (name,) = models
        if name is None:
            listed = ", ".join(list(models)[:8]) or "none by name"
            raise UsageError(
                f"--judge-model is missing: {endpoint.url} serves {len(models)} models: {listed}"
            )
        if name not in models:
            raise unknown("model", name, models, f"{endpoint.url}/models")
        return cls(service, name, models[name], AnswerCache())

    def same(self, answer: Completion) -> bool:
        """Whether an answer is from the model that gave the first one."""
        with self._lock:
            if self._answering is None:
                self._answering = answer.model
            return answer.model == self._answering

    def checked(self, answer: Any) -> Completion:
        """The completion that the endpoint answered.

        Raises:
            JudgeError: it answered none.
            RewardUnavailable: another model answered than before.
        """
        completion = Completion.of(answer)
        if not self.same(completion):
            raise RewardUnavailable(
                f"{self.service.url} answers as the model {completion.model!r} now, and before as "
                f"{self._answering!r}, so scores would not be of one judge. Name a model that does "
                "not change, such as one with a date. Answers of another model may also be kept "
                f"from before{f', in {self.cache.folder}' if self.cache else ''}"
            )
        return completion


def _models(answer: Any) -> dict[str, str]:
    """What an endpoint reports of each of its models, by name."""
    listed = answer.get("data") if isinstance(answer, dict) else None
    found = {}
    for model in listed if isinstance(listed, list) else ():
        if isinstance(model, dict) and isinstance(name := model.get("id"), str):
            root = model.get("root")
            found[name] = name if root in (None, name) else f"{name} ({root})"
    if not found:
        raise RewardUnavailable("the endpoint lists no models")
    return found


def _key(url: str) -> str | None:
    """The key in the environment. OpenAI's key is sent to OpenAI alone, and over TLS.

    Raises:
        UsageError: it cannot be part of a header; the error does not show it.
    """
    address = urlsplit(url)
    variables = ["REWARDKIT_ENDPOINT_KEY"]
    if address.scheme == "https" and f".{address.hostname}".endswith(".openai.com"):
        variables.append("OPENAI_API_KEY")
    for variable in variables:
        if key := os.environ.get(variable, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise UsageError(
                    f"the key in the environment variable {variable} has a character that is not "
                    "printable ASCII, such as a line break or a typographic quotation mark. Set it "
                    "to the key alone"
                )
            return key
    return None
