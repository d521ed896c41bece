"""A service that answers with JSON over HTTP: some calls at once, and retries of transient errors.

A call is tried again after a lost connection, a time-out, 408, 429 (after `Retry-After`) and 5xx.
What is left is the error of one call (`CallError`), or of every call (`RewardUnavailable`): nothing
listens, the key or the address is refused, the account is empty, the service redirects elsewhere,
or it no longer answers at all.
"""

from __future__ import annotations

import functools
import math
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar, final
from urllib.parse import urlsplit

from rewardkit.errors import RewardKitError, RewardUnavailable, UsageError, describe

if TYPE_CHECKING:
    import ssl

    import httpx2

_T = TypeVar("_T")
_PASSING = {408, 429}  # and 5xx
_EVERY_CALL = {401, 402, 403, 404, 405}  # and 3xx
_TRIES = 6
_SLOW_TRIES = 3  # that end in a time-out: each of them waits for all of it
_LONGEST_WAIT = 60.0  # seconds, whatever Retry-After says
_SHOWN = 300  # characters of an answer in an error
# The generator of `random` belongs to whoever has seeded it.
_jitter = random.Random()


class CallError(RewardKitError):
    """A service that works did not answer one call as it should; other calls may succeed."""


@final
@dataclass(frozen=True)
class Endpoint:
    """Where rewards that call a service find it.

    Attributes:
        url: the base address, such as http://127.0.0.1:8000/v1.
        model: which of its models is called; None where it serves only one.
        concurrency: the largest number of calls at the same time.
        timeout: seconds to wait for an answer.
    """

    url: str
    model: str | None = None
    concurrency: int = 16
    timeout: float = 120.0

    def __post_init__(self) -> None:
        if "@" in self.url:
            raise UsageError(
                "the address of an endpoint is recorded, so it must not contain a user name or "
                "password, nor any @. Set the environment variable REWARDKIT_ENDPOINT_KEY to the "
                "key"
            )
        if not _is_address(self.url):
            raise UsageError(
                f"the endpoint {self.url!r} is not an address such as http://127.0.0.1:8000/v1"
            )
        if self.concurrency < 1:
            raise UsageError(f"concurrency is at least 1; {self.concurrency} was given")
        if not 0 < self.timeout < math.inf:
            raise UsageError(f"timeout is a positive number of seconds; {self.timeout} was given")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port  # which is read here
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and url.isprintable()
        and not set(" ?#") & set(url)
    )


@final
class Service:
    """Calls to a service, made by threads; `call` returns at once.

    The threads end with the process or with this object. A call whose `Future` nobody holds any
    more, after Ctrl-C, is not made.

    Args:
        url: the base address.
        alive: the path below it that a working service answers, whatever the answer is.
        key: sent as a bearer token; it appears in no error and no file.
        concurrency: the largest number of calls at the same time.
        pause: seconds before the second try; each later pause is twice as long.
        timeout: seconds to wait for an answer.
        transport: used in place of the network.

    Attributes:
        url: the base address.
    """

    def __init__(
        self,
        url: str,
        *,
        alive: str,
        key: str | None = None,
        concurrency: int = Endpoint.concurrency,
        pause: float = 0.5,
        timeout: float = Endpoint.timeout,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        import httpx2

        client = httpx2.Client(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=httpx2.Timeout(timeout, connect=10.0, pool=None),
            limits=httpx2.Limits(
                max_connections=concurrency, max_keepalive_connections=concurrency
            ),
            transport=transport,
            verify=_trusted(),
        )
        self.url = url.rstrip("/")
        self._caller = _Caller(client, self.url, alive, key, pause)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        all_ended = threading.Barrier(concurrency, action=client.close)
        for number in range(concurrency):
            name = f"rewardkit-call-{number}"
            threading.Thread(
                target=_work, args=(self._queue, all_ended), name=name, daemon=True
            ).start()
        weakref.finalize(self, _end, self._queue, concurrency).atexit = False

    def call(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        then: Callable[[Any], _T] = lambda x: x,
    ) -> Future[_T]:
        """Calls the service, with POST where there is a body.

        Args:
            path: below the base address.
            body: sent as JSON.
            then: makes the result of the decoded JSON answer, in the thread of the call.

        Returns:
            The result to come. Its errors are those of `then`, `CallError` and `RewardUnavailable`.
        """
        future: Future[_T] = Future()
        caller = self._caller
        job = _Job(weakref.ref(future), lambda: then(caller.answer(path, body)))
        self._queue.put(job)
        return future


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates that the client trusts by default, which are slow to read."""
    import httpx2

    return httpx2.create_ssl_context()


@dataclass(frozen=True)
class _Job:
    future: weakref.ref[Future[Any]]
    run: Callable[[], Any]


def _work(queue: SimpleQueue[_Job | None], all_ended: threading.Barrier) -> None:
    while (job := queue.get()) is not None:
        future = job.future()
        if future is not None and future.set_running_or_notify_cancel():
            try:
                future.set_result(job.run())
            except BaseException as error:
                future.set_exception(error)
        del job, future  # while the thread waits, it keeps no result
    all_ended.wait()


def _end(queue: SimpleQueue[_Job | None], threads: int) -> None:
    for _ in range(threads):
        queue.put(None)


@dataclass(frozen=True)
class _Caller:
    """One call with its retries; see `Service`."""

    client: httpx2.Client
    url: str
    alive: str
    key: str | None
    pause: float

    def answer(self, path: str, body: Mapping[str, Any] | None) -> Any:
        """The decoded JSON of the answer.

        Raises:
            CallError: the service works, and failed or refused this call.
            RewardUnavailable: no other call would succeed either.
        """
        import httpx2

        wait, slow = 0.0, 0
        for tried in range(_TRIES):
            if tried:
                pause = self.pause * 2 ** (tried - 1) * _jitter.uniform(0.75, 1.25)
                time.sleep(max(pause, min(wait, _LONGEST_WAIT)))
            wait, down = 0.0, False
            try:
                response = self._send(path, body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                problem, down = f"cannot be reached: {describe(error)}", True
            except httpx2.TimeoutException:
                slow += 1
                problem = f"did not answer within {self.client.timeout.read:g} s"
                if slow == _SLOW_TRIES:
                    problem = f"{problem}: lower --concurrency or raise --timeout"
                    break
            except httpx2.RequestError as error:
                problem = f"did not answer: {describe(error)}"
            else:
                if response.is_success:
                    return self._decoded(response)
                problem = f"answered {response.status_code}: {self._text(response)}"
                if not (response.status_code in _PASSING or response.is_server_error):
                    every_call = response.is_redirect or response.status_code in _EVERY_CALL
                    raise self._error(problem, every_call=every_call)
                wait, down = _retry_after(response), response.status_code == 429
        problem = f"{problem} ({tried + 1} tries)"
        raise self._error(problem, every_call=down or not self._works())

    def _send(self, path: str, body: Mapping[str, Any] | None) -> httpx2.Response:
        method = "GET" if body is None else "POST"
        return self.client.request(method, f"{self.url}/{path}", json=body)

    def _works(self) -> bool:
        import httpx2

        try:
            return not self._send(self.alive, None).is_server_error
        except httpx2.RequestError:
            return False

    def _decoded(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._error(f"answered with no JSON: {self._text(response)}") from None

    def _text(self, response: httpx2.Response) -> str:
        place = response.headers.get("Location") if response.is_redirect else None
        text = self._masked(response.text if place is None else f"it redirects to {place}")
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."

    def _masked(self, text: str) -> str:
        for key in () if self.key is None else (self.key, repr(self.key)[1:-1]):
            text = text.replace(key, "[key]")
        return text

    def _error(self, problem: str, *, every_call: bool = False) -> RewardKitError:
        kind = RewardUnavailable if every_call else CallError
        return kind(self._masked(f"the service at {self.url} {problem}"))


def _retry_after(response: httpx2.Response) -> float:
    """The seconds that a service asks to wait, which it gives as a number or as a date."""
    stated = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(stated))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(stated)
    except ValueError:
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
