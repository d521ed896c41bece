"""Questions to a judge about samples: the request, its place in the cache, and the score."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, final

from rewardkit.engine.extractor import Extractor
from rewardkit.judging.completion import JudgeError
from rewardkit.judging.model import JudgeModel
from rewardkit.judging.template import JudgeTemplate
from rewardkit.media.batch import Clip, Sample
from rewardkit.media.images import to_pil
from rewardkit.media.sampling import sample_indices

if TYPE_CHECKING:
    import torch


@final
class Questions(Extractor):
    """Asks a judge about each sample, and reads the score in its answer.

    A call is under way once its sample is prepared, so that the calls of a batch, and of the
    batches ahead, are made at the same time. Tried alone after a failed batch, a sample is not
    asked about again: its call is over.

    Args:
        template: what is asked.
        model: who is asked.
    """

    def __init__(self, template: JudgeTemplate, model: JudgeModel) -> None:
        self.template = template
        self.model = model

    def prepare(self, sample: Sample) -> Future[float]:
        """The score to come: from the cache, or of a call that starts here.

        Raises:
            InputError: the line of the sample lacks what the template asks about.
        """
        frames = _frames(sample, self.template.frames)
        question = self.template.question(sample)
        if isinstance(sample.medium, Clip):
            said = self.template.of_frames.replace("{frames}", str(len(frames)))
            question = f"{said}\n{question}"
        key = self._key([_checksum(frame) for frame in frames], question)
        score = self._kept(key, sample)
        if score is not None:
            done: Future[float] = Future()
            done.set_result(score)
            return done
        request = self._request([_data_url(frame) for frame in frames], question)
        return self.model.service.call(
            "chat/completions", request, lambda answer: self._score(answer, sample, key)
        )

    def features(self, prepared: Sequence[Future[float]]) -> list[float]:
        """The scores, once all calls are over.

        Raises:
            JudgeError: an answer states no score.
            CallError: the endpoint failed or refused a call.
            RewardUnavailable: the endpoint is gone.
        """
        return [score.result() for score in prepared]

    def _score(self, answer: Any, sample: Sample, key: str) -> float:
        completion = self.model.checked(answer)
        score = self.template.parse(completion, sample)
        if self.model.cache is not None:  # what cannot be read is asked again in the next run
            self.model.cache.put(key, completion)
        return score

    def _kept(self, key: str, sample: Sample) -> float | None:
        """The score in the cache, where the answer there is this model's and can be read."""
        answer = None if self.model.cache is None else self.model.cache.get(key)
        if answer is None or not self.model.same(answer):
            return None
        try:
            return self.template.parse(answer, sample)
        except JudgeError:
            return None

    def _request(self, images: Sequence[str], question: str) -> dict[str, Any]:
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": image}} for image in images
        ]
        fields = {
            "model": self.model.name,
            "messages": [
                {"role": "user", "content": [*content, {"type": "text", "text": question}]}
            ],
            "temperature": 0,
            "seed": 0,
            "max_tokens": self.template.max_tokens,
            **self.template.parameters,
            **self.template.request,
        }
        return {name: value for name, value in fields.items() if value is not False}

    def _key(self, pixels: Sequence[str], question: str) -> str:
        request = self._request(pixels, question)
        model = [self.model.service.url, self.model.reported]
        return _digest([*model, self.template.sha256, request])


def _frames(sample: Sample, most: int) -> list[torch.Tensor]:
    """The picture, or frames of the clip, both ends included and evenly spaced."""
    frames = sample.frames()
    times = [float(index) for index in range(len(frames))]
    return [frames[index] for index in sample_indices(times, count=min(most, len(frames)))]


def _checksum(frame: torch.Tensor) -> str:
    pixels = frame.permute(1, 2, 0).contiguous().numpy()
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def _data_url(frame: torch.Tensor) -> str:
    """The pixels as a PNG, which loses nothing."""
    file = io.BytesIO()
    to_pil(frame).save(file, "PNG", compress_level=1)  # fast: the endpoint is near or paid by pixel
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
