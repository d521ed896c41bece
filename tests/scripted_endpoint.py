"""A service on this machine that plays a script: answers, errors, delays and cut connections."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """An answer: a body that is not bytes is sent as JSON; a cut one ends half way."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    cut: bool = False


@dataclass
class ScriptedEndpoint:
    """What was asked, and what is answered.

    Attributes:
        url: its base address.
        play: the reply to a call, of its number and body; GETs have their own.
        get: the reply to a GET, of its path.
        calls: the bodies of all POSTs so far.
        headers: of the last request.
        most: how many POSTs were worked on at the same time, at most.
    """

    url: str = ""
    play: Callable[[int, Any], Reply] = lambda number, body: Reply()
    get: Callable[[str], Reply] = lambda path: Reply()
    calls: list[Any] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    most: int = 0
    working: int = 0
    lock: Any = field(default_factory=threading.Lock)


@contextmanager
def scripted():
    endpoint = ScriptedEndpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as real servers do

        def do_GET(self):
            endpoint.headers = dict(self.headers)
            self.send(endpoint.get(self.path))

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                endpoint.headers = dict(self.headers)
                number = len(endpoint.calls)
                endpoint.calls.append(body)
                endpoint.working += 1
                endpoint.most = max(endpoint.most, endpoint.working)
            reply = endpoint.play(number, body)
            time.sleep(reply.seconds)
            with endpoint.lock:
                endpoint.working -= 1
            self.send(reply)

        def send(self, reply):
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if reply.cut else data)
            except OSError:  # the client did not wait
                self.close_connection = True
            self.close_connection |= reply.cut

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        block_on_close = False  # slow answers are not waited for

        def handle_error(self, *_):
            pass

    with Server(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        endpoint.url = f"http://127.0.0.1:{http.server_port}/v1"
        yield endpoint
        http.shutdown()
        thread.join()
