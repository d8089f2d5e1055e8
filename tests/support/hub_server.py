"""A stand-in of the Hugging Face Hub on this machine: what huggingface_hub asks of it, and faults.

with serving() as hub:
    hub.repositories["org/name"] = Repository({"model.safetensors": b"..."}, private=True)
    ...  # hub.address, hub.asked

A client with the token `TOKEN` reads everything and writes to ``org``; ``org/gated`` and the like
are those whose `Repository` says so. Files above a kilobyte go by LFS, as weights do.
"""

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator

TOKEN = "hf_of_the_tests"
LFS_ABOVE = 1024


@dataclasses.dataclass
class Repository:
    """Its files as they are now, and what is odd about it.

    Attributes:
        files: bytes by name.
        private: nobody sees it without the token.
        gated: even with the token it must be asked for.
        tags: files of other revisions.
        spoil: its bytes are not those of its checksums.
        break_after: bytes after which the connection breaks, once.
    """

    files: dict[str, bytes]
    private: bool = False
    gated: bool = False
    tags: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
    spoil: bool = False
    break_after: int = 0

    def at(self, revision: str) -> dict[str, bytes] | None:
        return self.files if revision in ("main", _commit(self.files)) else self.tags.get(revision)


class Hub(http.server.ThreadingHTTPServer):
    """The server, and what it has.

    Attributes:
        repositories: by ``org/name``.
        asked: method and path of each request.
        status: answered to everything, unless None.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.asked: list[tuple[str, str]] = []
        self.blobs: dict[str, bytes] = {}
        self.status: int | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        pass


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    with Hub() as hub:
        threading.Thread(target=hub.serve_forever, args=[0.05], daemon=True).start()
        yield hub
        hub.shutdown()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self):
        url = self.heard()
        if self.server.status:
            return self.answer(self.server.status, {"error": "a fault of the tests"})
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url):
            return self.file(*match.groups())
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", url):
            _, files = self.opened(*match.groups())
            if files is not None:
                tree = [{"type": "file", "path": n, "size": len(b), "oid": _git(b)}
                        for n, b in files.items()]  # fmt: skip
                self.answer(200, tree)
            return None
        return self.answer(404, {"error": f"no such page {url}"})

    do_HEAD = do_GET

    def do_POST(self):
        url = self.heard()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.status:
            return self.answer(self.server.status, {"error": "a fault of the tests"})
        if not self.known():
            return self.answer(401, {"error": "Invalid username or password."})
        if url == "/api/repos/create":
            return self.create(json.loads(body))
        if url == "/api/validate-yaml":
            errors = [{"message": '"license" must be one of ...'}] if b"Apache 2" in body else []
            return self.answer(400 if errors else 200, {"errors": errors, "warnings": []})
        if re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", url):
            return self.answer(200, {"files": [
                {"path": file["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if file["size"] > LFS_ABOVE else "regular"}
                for file in json.loads(body)["files"]
            ]})  # fmt: skip
        if url.endswith(".git/info/lfs/objects/batch"):
            return self.answer(200, {"transfer": "basic", "objects": [
                {**one, "actions": {"upload": {"href": f"{self.server.address}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]})  # fmt: skip
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", url):
            return self.commit(match[1], [json.loads(line) for line in body.splitlines()])
        return self.answer(404, {"error": f"no such page {url}"})

    def do_PUT(self):
        oid = self.heard().rpartition("/")[2]
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(data).hexdigest() == oid
        self.server.blobs[oid] = data
        self.answer(200, {})

    def heard(self) -> str:
        url = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.server.asked.append((self.command, url))
        return url

    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def opened(self, name: str, revision: str):
        """A repository and the files of a revision; answers where there is none."""
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not self.known()):
            self.answer(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None, None
        if repository.gated:
            self.answer(403, {"error": "ask for access"}, {"X-Error-Code": "GatedRepo"})
            return None, None
        files = repository.at(revision)
        if files is None:
            self.answer(404, {"error": revision}, {"X-Error-Code": "RevisionNotFound"})
        return repository, files

    def file(self, name: str, revision: str, path: str):
        repository, files = self.opened(name, revision)
        if files is None:
            return
        commit = {"X-Repo-Commit": _commit(files)}
        if path not in files:
            self.answer(404, {"error": path}, {"X-Error-Code": "EntryNotFound", **commit})
            return
        data = files[path]
        etag = hashlib.sha256(data).hexdigest() if len(data) > LFS_ABOVE else _git(data)
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        end = len(data)
        if repository.spoil:
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.send_response(206 if start else 200)
        for key, value in {
            "ETag": f'"{etag}"',
            "Accept-Ranges": "bytes",
            "Content-Length": str(end - start),
            **({"Content-Range": f"bytes {start}-{end - 1}/{end}"} if start else {}),
            **commit,
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if repository.break_after:
            data, repository.break_after = data[: repository.break_after], 0
            self.close_connection = True
        self.wfile.write(data[start:])

    def create(self, asked: dict):
        name = f"{asked['organization']}/{asked['name']}"
        if not name.startswith("org/"):
            return self.answer(403, {"error": "You don't have the rights"})
        if name in self.server.repositories:
            return self.answer(409, {"error": "exists", "url": f"{self.server.address}/{name}"})
        self.server.repositories[name] = Repository(
            {}, private=asked.get("visibility") == "private"
        )
        return self.answer(200, {"url": f"{self.server.address}/{name}"})

    def commit(self, name: str, lines: list[dict]):
        files = self.server.repositories[name].files
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        commit = _commit(files)
        url = f"{self.server.address}/{name}/commit/{commit}"
        self.answer(200, {"commitUrl": url, "commitOid": commit, "success": True})

    def answer(self, status: int, content, headers=None):
        body = json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _commit(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
