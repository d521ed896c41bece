"""A hub on this machine, for tests of what downloads."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub.constants
import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A hub cache of this test's own."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.delenv("REWARDKIT_WEIGHTS", raising=False)
    return tmp_path


@pytest.fixture
def server(home, monkeypatch):
    """A hub on this machine: `{(repo, revision, file): bytes}`, "main" naming the newest commit."""
    files: dict[tuple[str, str, str], bytes] = {}
    commits: dict[str, str] = {}

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, body=True):
            if self.path.startswith("/api/models/"):
                return self.listing(*self.path.partition("?")[0].split("/")[3:])
            # Repositories of data lie below datasets/.
            path = self.path.lstrip("/").removeprefix("datasets/")
            owner, name, _, revision, file = path.split("/", 4)
            repo = f"{owner}/{name}"
            commit = commits.get(repo, "") if revision == "main" else revision
            content = files.get((repo, commit, file))
            self.send_response(200 if content is not None else 404)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
                content = b""
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def listing(self, owner, name, form="revision", revision="main"):
            repo = f"{owner}/{name}"
            commit = commits.get(repo, "") if revision == "main" else revision
            held = {f: content for (r, c, f), content in files.items() if (r, c) == (repo, commit)}
            answer = {"id": repo, "sha": commit, "siblings": [{"rfilename": file} for file in held]}
            if form == "tree":
                answer = [
                    {"type": "file", "path": file, "size": len(content), "oid": file}
                    for file, content in held.items()
                ]
            body = json.dumps(answer).encode()
            self.send_response(200 if held else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Hub) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        endpoint = f"http://127.0.0.1:{http.server_port}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)

        def publish(repo, commit, **content):
            commits[repo] = commit
            files.update(
                {(repo, commit, name.replace("__", ".")): b for name, b in content.items()}
            )

        yield publish
        http.shutdown()
        thread.join()
