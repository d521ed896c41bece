"""One word as the answer: its probability as the first token, from the log-probabilities.

The form of VQAScore (https://arxiv.org/abs/2404.01291) and GenEval 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, final

from pydantic import Field

from rewardkit.judging.completion import Completion
from rewardkit.judging.template import JudgeTemplate
from rewardkit.media.batch import Sample

# As many as OpenAI's interface allows, and vLLM by default.
TOP = 20


@final
class WordTemplate(JudgeTemplate):
    """A question that one word answers.

    Attributes:
        answer: the word, in any capitalisation and with or without a blank before it.
    """

    form: Literal["word"]
    answer: str = Field(min_length=1)
    max_tokens: Literal[1] = 1

    @property
    def range(self) -> tuple[float, float]:
        """A probability."""
        return 0.0, 1.0

    @property
    def unit(self) -> str:
        """A probability."""
        return "probability"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The log-probabilities of the likeliest tokens."""
        return {"logprobs": True, "top_logprobs": TOP}

    def parse(self, completion: Completion, sample: Sample) -> float:
        """The sum of the probabilities of the tokens that are the word.

        Raises:
            JudgeError: the word is not among the tokens, or their probabilities are none.
        """
        # A server may list a token twice: once among the likeliest, and once as the chosen one.
        tokens = dict(completion.likely)
        probabilities = {token: math.exp(min(logprob, 1.0)) for token, logprob in tokens.items()}
        total = math.fsum(probabilities.values())
        if not total <= 1.001:  # nor is NaN
            raise completion.error(f"the probabilities of the first token add up to {total:.4g}")
        word = self.answer.strip().casefold()
        own = [p for token, p in probabilities.items() if token.strip().casefold() == word]
        if not own:
            likeliest = ", ".join(f"{token!r}" for token in list(tokens)[:5])
            most = math.ceil(max(0.0, 1 - total) * 1e4) / 1e4  # a bound is rounded up
            raise completion.error(
                f"the word {self.answer!r} is not among the {len(tokens)} likeliest first tokens "
                f"({likeliest}, ...). Their probabilities add up to {total:.4f}, so that of the "
                f"word is at most {most:g}, and otherwise unknown"
            )
        return min(math.fsum(own), 1.0)

    def example(self, share: float, question: str) -> Mapping[str, Any]:
        """The word with that probability."""
        top = [
            {"token": token, "logprob": math.log(max(p, 1e-9))}
            for token, p in ((self.answer, share), ("-", 1 - share))
        ]
        content = [{"top_logprobs": top}]
        return {"message": {"content": self.answer}, "logprobs": {"content": content}}
