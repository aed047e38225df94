"""A hub on this machine: the few endpoints that huggingface_hub asks when it downloads a model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server has, and what it was asked."""

    name: str  # of its one model
    folder: Path  # whose files it serves
    revisions: tuple[str, ...] = ("main",)
    refusal: tuple[int, str] | None = None  # status and X-Error-Code of every answer
    breaks: set[str] = field(default_factory=set)  # files whose download breaks off half-way
    asked: list[str] = field(default_factory=list)  # "METHOD path" of every request about the model
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serves on a free port of 127.0.0.1 while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr: the test looks at `asked`."""

        def _answer(self, body: bool) -> None:
            if hub.name in self.path:  # the library has questions of its own
                hub.asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if hub.refusal:
                self._refuse(*hub.refusal)
            elif path.startswith(f"/api/models/{hub.name}/revision/"):
                self._describe(path.rpartition("/")[2])
            elif path == f"/api/models/{hub.name}/tree/{COMMIT}":
                self._list()
            elif path.startswith(f"/{hub.name}/resolve/{COMMIT}/"):
                self._file(path.removeprefix(f"/{hub.name}/resolve/{COMMIT}/"), body)
            else:
                self._refuse(404, "RepoNotFound")

        def _describe(self, revision: str) -> None:
            if revision not in (*hub.revisions, COMMIT):
                return self._refuse(404, "RevisionNotFound")
            files = [{"rfilename": file.name} for file in sorted(hub.folder.iterdir())]
            content = {"id": hub.name, "modelId": hub.name, "sha": COMMIT, "siblings": files}
            return self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

        def _list(self) -> None:
            files = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": f"{i:040x}"}
                for i, file in enumerate(sorted(hub.folder.iterdir()))
            ]
            self._send(200, json.dumps(files).encode(), {"Content-Type": "application/json"})

        def _file(self, name: str, body: bool) -> None:
            file = hub.folder / name
            if not file.is_file():
                return self._refuse(404, "EntryNotFound")
            content = file.read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            breaks = body and name in hub.breaks
            return self._send(206 if start else 200, content[start:], headers, body=body, breaks=breaks)

        def _refuse(self, status: int, code: str) -> None:
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": f"{code}, says the test"})

        def _send(
            self, status: int, content: bytes, headers: dict[str, str], body: bool = True, breaks: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if breaks:
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            elif body and self.command != "HEAD":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
