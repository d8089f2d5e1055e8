"""A bucket on this machine: gcp-storage-emulator with what TensorStore needs, and with faults.

    python tests/support/bucket_server.py PORT

The bucket is called ``test-bucket``. The emulator alone tells no generation of what is read and
heeds no condition on it; TensorStore fails at the former ("Malformed StorageGeneration") and relies
on the latter. ``GET /fault?status=503&seconds=10`` makes it answer so to all for so long;
``GET /kill?pid=N&at=40`` kills a process at the fortieth request for something in a checkpoint.
"""

import contextlib
import functools
import http.server
import json
import os
import re
import signal
import sys
import threading
import time
import urllib.parse
from http import HTTPStatus

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import Storage

BUCKET = "test-bucket"
_download, _upload = objects.download, objects._media_upload


def download(request, response, storage, *args, **kwargs):
    with contextlib.suppress(NotFound):
        place = request.params["bucket_name"], request.params["object_id"]
        generation = storage.get_file_obj(*place)["generation"]
        response["x-goog-generation"] = generation
        if request.query.get("ifGenerationNotMatch") == [generation]:
            response.status = HTTPStatus.NOT_MODIFIED
            return
    _download(request, response, storage, *args, **kwargs)


def upload(request, response, storage):
    generation = "0"  # that of what is not there
    with contextlib.suppress(NotFound):
        place = request.params["bucket_name"], request.query["name"][0]
        generation = storage.get_file_obj(*place)["generation"]
    if request.query.get("ifGenerationMatch", [generation]) != [generation]:
        response.status = HTTPStatus.PRECONDITION_FAILED
        return
    _upload(request, response, storage)


class Handler(server.RequestHandler):
    """Answers as the emulator does, or with the fault of the moment."""

    fault, until = None, 0.0
    victim, requests_left = None, 0

    def handle_or_fail(self, method):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/fault":
            asked = dict(urllib.parse.parse_qsl(url.query))
            Handler.fault = HTTPStatus(int(asked["status"]))
            Handler.until = time.monotonic() + float(asked["seconds"])
            self.answer(HTTPStatus.OK)
        elif url.path == "/kill":
            asked = dict(urllib.parse.parse_qsl(url.query))
            Handler.victim, Handler.requests_left = int(asked["pid"]), int(asked["at"])
            self.answer(HTTPStatus.OK)
        elif time.monotonic() < Handler.until:
            server._read_raw_data(self)
            self.answer(Handler.fault)
        elif place := re.fullmatch(r".*/b/([^/]+)/o/([^/]+)/moveTo/o/([^/]+)", url.path):
            self.move(*map(urllib.parse.unquote, place.groups()))
        else:
            self.kill_in_time()
            server.Router(self).handle(method)

    def move(self, bucket, name, target):
        """An object gets another name, which the emulator cannot do."""
        server._read_raw_data(self)
        try:
            known = self.storage.get_file_obj(bucket, name) | {"name": target}
        except NotFound:  # such as a folder, which gcsfs asks for too
            return self.answer(HTTPStatus.NOT_FOUND)
        self.storage.create_file(bucket, target, self.storage.get_file(bucket, name), known)
        self.storage.delete_file(bucket, name)
        self.answer(HTTPStatus.OK, json.dumps(known).encode())

    def kill_in_time(self):
        if Handler.victim and re.search(r"checkpoints(/|%2F)\d", self.path):
            Handler.requests_left -= 1
            if not Handler.requests_left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(Handler.victim, signal.SIGKILL)
                Handler.victim = None

    def answer(self, status, content=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = functools.partialmethod(handle_or_fail, "GET")
    do_POST = functools.partialmethod(handle_or_fail, "POST")
    do_PUT = functools.partialmethod(handle_or_fail, "PUT")
    do_PATCH = functools.partialmethod(handle_or_fail, "PATCH")
    do_DELETE = functools.partialmethod(handle_or_fail, "DELETE")

    def log_message(self, *_):
        pass


class Server(http.server.HTTPServer):
    """Does not mind who is killed while it answers."""

    def handle_error(self, *_):
        pass


def end_with(parent: int) -> None:
    """Ends this process when that which started it has gone, however it went."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)


def main(port: int, parent: int) -> None:
    objects.download, objects._media_upload = download, upload
    storage = Storage(use_memory_fs=True)
    buckets.create_bucket(BUCKET, storage)
    threading.Thread(target=end_with, args=[parent], daemon=True).start()
    handler = functools.partial(Handler, storage)
    Server(("127.0.0.1", port), handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), os.getppid())
