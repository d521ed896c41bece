"""What an endpoint answers to a request for a chat completion, as far as judges read it."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rewardkit.errors import RewardKitError

_SHOWN = 300  # characters of an answer in an error


class JudgeError(RewardKitError):
    """The answer of a judge is not what was asked for; the text says what it was."""


class _Likely(BaseModel):
    token: str
    logprob: float


class _Token(BaseModel):
    top_logprobs: list[_Likely] = []


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class Completion(BaseModel):
    """A chat completion.

    Attributes:
        model: the name of the model that answered, as the endpoint states it.
        choices: the answers, of which there is one.
    """

    model_config = ConfigDict(frozen=True)

    model: str | None = None
    choices: tuple[_Choice, ...]

    @classmethod
    def of(cls, answer: Any) -> Self:
        """The completion in a decoded JSON answer.

        Raises:
            JudgeError: it is none.
        """
        try:
            found = cls.model_validate(answer)
        except ValidationError:
            found = None
        if found is None or len(found.choices) != 1:
            raise JudgeError(f"the endpoint returned no chat completion but {_shown(answer)}")
        return found

    @property
    def said(self) -> str:
        """The text of the answer, whole or not."""
        return self.choices[0].message.content or ""

    @property
    def text(self) -> str:
        """The text of a whole answer.

        Raises:
            JudgeError: there is none, or it was cut off.
        """
        if self.choices[0].finish_reason == "length":
            raise self.error("the judge's answer was cut off at max_tokens of the template")
        if not self.said.strip():
            raise self.error("the judge gave no answer")
        return self.said

    @property
    def likely(self) -> list[tuple[str, float]]:
        """The likeliest first tokens and their log-probabilities.

        Raises:
            JudgeError: the endpoint gave none.
        """
        logprobs = self.choices[0].logprobs
        if logprobs is None or not logprobs.content or not logprobs.content[0].top_logprobs:
            raise self.error(
                "the endpoint gave no log-probabilities of the first token (top_logprobs), which "
                "this judge reads"
            )
        return [(likely.token, likely.logprob) for likely in logprobs.content[0].top_logprobs]

    def error(self, problem: str) -> JudgeError:
        """An error that shows what was answered."""
        return JudgeError(f"{problem}; it returned {_shown(self.said)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
