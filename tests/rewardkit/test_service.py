"""A call ends with its answer, with an error of its own, or with the news that all calls fail."""

import gc
import math
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from scripted_endpoint import Reply, scripted

from rewardkit.errors import RewardUnavailable, UsageError
from rewardkit.service import CallError, Endpoint, Service

KEY = "sk-secret-of-this-test"


@pytest.fixture
def endpoint():
    with scripted() as found:
        yield found


def service(endpoint, **settings):
    return Service(endpoint.url, alive="models", **{"pause": 0.01, **settings})


def test_a_call_posts_json_with_the_key_and_makes_its_result_of_the_answer(endpoint):
    endpoint.play = lambda number, body: Reply({"twice": 2 * body["number"]})
    calls = service(endpoint, key=KEY)
    results = [calls.call("double", {"number": n}, lambda answer: answer["twice"]) for n in (3, 4)]
    assert [result.result() for result in results] == [6, 8]
    assert endpoint.headers["Authorization"] == f"Bearer {KEY}"
    endpoint.get = lambda path: Reply({"path": path})
    assert calls.call("models").result() == {"path": "/v1/models"}


FAULTS = {
    "too many requests": Reply(status=429),
    "a server error": Reply(status=500),
    "a gateway's error": Reply(b"<html>bad gateway</html>", status=502),
    "a time-out of the server": Reply(status=408),
    "a cut connection": Reply({"right": "answer"}, cut=True),
    "no answer in time": Reply(seconds=0.8),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_tried_again(fault, endpoint):
    endpoint.play = lambda number, body: FAULTS[fault] if number < 2 else Reply({"right": "answer"})
    answer = service(endpoint, timeout=0.5).call("ask", {}).result()
    assert answer == {"right": "answer"} and len(endpoint.calls) == 3


def in_seconds(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("after", "least", "most"),
    [("7", 7, 7), ("date", 1, 40), ("3600", 60, 60), ("soon", 0, 1), ("-3", 0, 1)],
)
def test_a_service_that_says_when_is_asked_again_then(after, least, most, endpoint, monkeypatch):
    waited = []
    monkeypatch.setattr("rewardkit.service.time.sleep", waited.append)
    stated = in_seconds(40) if after == "date" else after
    late = Reply(status=429, headers={"Retry-After": stated})
    endpoint.play = lambda number, body: late if number == 0 else Reply({"n": number})
    assert service(endpoint).call("ask", {}).result() == {"n": 1}
    assert least <= max(waited) <= most


def test_pauses_grow(endpoint, monkeypatch):
    waited = []
    monkeypatch.setattr("rewardkit.service.time.sleep", waited.append)
    endpoint.play = lambda number, body: Reply(status=500)
    assert service(endpoint, pause=1.0).call("ask", {}).exception() is not None
    pauses = [pause for pause in waited if pause]
    assert [round(math.log2(pause)) for pause in pauses] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("status", [400, 422])
def test_a_call_that_is_refused_is_not_repeated_and_costs_no_other_call(status, endpoint):
    refused = Reply({"error": f"no such thing, {KEY}"}, status=status)
    endpoint.play = lambda number, body: refused if body["bad"] else Reply({"fine": True})
    calls = service(endpoint, key=KEY)
    bad, good = (calls.call("ask", {"bad": is_bad}) for is_bad in (True, False))
    assert good.result() == {"fine": True}
    with pytest.raises(CallError, match=f"answered {status}: .*no such thing") as raised:
        bad.result()
    assert len(endpoint.calls) == 2
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_wrong_key_or_address_ends_all_calls_at_once(status, endpoint):
    endpoint.play = lambda number, body: Reply({"error": "go away"}, status=status)
    with pytest.raises(RewardUnavailable, match=f"answered {status}: .*go away"):
        service(endpoint).call("ask", {}).result()
    assert len(endpoint.calls) == 1


def test_a_redirect_ends_all_calls_and_says_where_to(endpoint):
    elsewhere = {"Location": f"https://elsewhere/v1?key={KEY}"}
    endpoint.play = lambda number, body: Reply(b"", status=301, headers=elsewhere)
    with pytest.raises(
        RewardUnavailable, match=r"301: .*redirects to https://elsewhere/v1\?key=\["
    ):
        service(endpoint, key=KEY).call("ask", {}).result()
    assert len(endpoint.calls) == 1


def test_a_slow_service_is_not_waited_for_six_times(endpoint):
    endpoint.play = lambda number, body: Reply(seconds=0.5)
    with pytest.raises(CallError, match=r"within 0\.1 s: lower --concurrency.*\(3 tries\)"):
        service(endpoint, timeout=0.1).call("ask", {}).result()
    assert len(endpoint.calls) == 3


def test_an_error_of_the_client_does_not_show_the_key(endpoint):
    with pytest.raises(RewardUnavailable, match=r"did not answer: .*\[key\]") as raised:
        service(endpoint, pause=0.001, key=f"{KEY}\r").call("ask", {}).result()
    assert KEY not in str(raised.value)


def test_a_call_that_breaks_a_working_service_is_the_error_of_that_call(endpoint):
    endpoint.play = lambda number, body: Reply({"detail": "crashed"}, status=500)
    with pytest.raises(CallError, match=r"answered 500: .*crashed.* \(6 tries\)"):
        service(endpoint, pause=0.001).call("ask", {}).result()
    assert len(endpoint.calls) == 6


def test_a_service_that_answers_nothing_any_more_ends_all_calls(endpoint):
    endpoint.play = lambda number, body: Reply(status=503)
    endpoint.get = lambda path: Reply(status=503)
    with pytest.raises(RewardUnavailable, match="503"):
        service(endpoint, pause=0.001).call("ask", {}).result()


def test_a_limit_that_lasts_ends_all_calls(endpoint):
    endpoint.play = lambda number, body: Reply({"error": "quota used up"}, status=429)
    with pytest.raises(RewardUnavailable, match="quota used up"):
        service(endpoint, pause=0.001).call("ask", {}).result()


def test_nobody_listening_ends_all_calls():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    calls = Service(url, alive="models", pause=0.001)
    with pytest.raises(RewardUnavailable, match="cannot be reached"):
        calls.call("ask", {}).result()


def test_an_answer_that_is_no_json_is_shown(endpoint):
    endpoint.play = lambda number, body: Reply(b"hello <b>there</b>")
    with pytest.raises(CallError, match="no JSON: hello <b>there</b>"):
        service(endpoint).call("ask", {}).result()


def test_no_more_calls_than_asked_for_run_at_the_same_time(endpoint):
    endpoint.play = lambda number, body: Reply({}, seconds=0.03)
    calls = service(endpoint, concurrency=3)
    for result in [calls.call("ask", {}) for _ in range(12)]:
        result.result()
    assert endpoint.most == 3


def test_a_call_that_nobody_waits_for_is_not_made(endpoint):
    endpoint.play = lambda number, body: Reply({}, seconds=0.3)
    calls = service(endpoint, concurrency=1)
    first = calls.call("ask", {"n": 0})
    for number in (1, 2, 3):
        calls.call("ask", {"n": number})
    gc.collect()
    last = calls.call("ask", {"n": 4})
    first.result(), last.result()
    assert [body["n"] for body in endpoint.calls] == [0, 4]


def test_a_cancelled_call_costs_no_thread(endpoint):
    endpoint.play = lambda number, body: Reply({"n": body["n"]}, seconds=0.2)
    calls = service(endpoint, concurrency=1)
    first, second, third = (calls.call("ask", {"n": number}) for number in range(3))
    assert second.cancel()
    assert [first.result(5), third.result(5)] == [{"n": 0}, {"n": 2}]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"url": "127.0.0.1:8000"}, "is not an address"),
        ({"url": "ftp://host/v1"}, "is not an address"),
        ({"url": f"https://me:{KEY}@host/v1"}, "REWARDKIT_ENDPOINT_KEY"),
        ({"url": f"https://me:{KEY}@[host/v1"}, "REWARDKIT_ENDPOINT_KEY"),
        ({"url": "http://[bad/v1"}, "is not an address"),
        ({"url": "http://host:99999/v1"}, "is not an address"),
        ({"url": "http://host:port/v1"}, "is not an address"),
        ({"url": "http://host/v1#models"}, "is not an address"),
        ({"url": "http://host/v1?a=b"}, "is not an address"),
        ({"url": "http://host/v1\n"}, "is not an address"),
        ({"url": "http://host/v1", "concurrency": 0}, "at least 1"),
        ({"url": "http://host/v1", "timeout": 0}, "positive number of seconds"),
        ({"url": "http://host/v1", "timeout": math.nan}, "positive number of seconds"),
    ],
)
def test_an_endpoint_that_cannot_be_called_is_refused(settings, reason):
    with pytest.raises(UsageError, match=reason) as raised:
        Endpoint(**settings)
    assert KEY not in str(raised.value)
