"""Requests that would make the page fetch something are refused; all others come through whole."""

import asyncio
import json

import pytest

from yolor_jax.demo.inward import MOST_BYTES, Inward

JSON = [(b"content-type", b"application/json")]


def ask(path, body=b"", *, method="POST", headers=JSON, parts=1):
    """The status of the answer, and the body that came through."""
    size = -(-len(body) // parts) or 1
    chunks = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    messages = [
        {"type": "http.request", "body": chunk, "more_body": chunk is not chunks[-1]}
        for chunk in chunks
    ]
    came, sent = [], []

    async def app(scope, receive, send):
        more = True
        while more:
            message = await receive()
            came.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200})

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    asyncio.run(Inward(app)(scope, receive, send))
    return sent[0]["status"], b"".join(came)


def test_requests_of_the_page_come_through_whole():
    file = {"path": "/tmp/a/noise.png", "url": "http://127.0.0.1:7860/gradio_api/file=/tmp/a.png"}
    body = json.dumps({"data": [file, 0.25, [1]], "fn_index": 0}).encode()
    for parts in (1, 3):
        assert ask("/gradio_api/queue/join", body, parts=parts) == (200, body)
    assert ask("/", method="GET", headers=[]) == (200, b"")
    assert ask("/gradio_api/queue/join", b"no JSON") == (200, b"no JSON")
    upload = [(b"content-type", b"multipart/form-data; boundary=a")]
    large = b'{"path": "https://example.com"}' + bytes(MOST_BYTES)
    assert ask("/gradio_api/upload", large, headers=upload, parts=4) == (200, large)


@pytest.mark.parametrize(
    "value",
    [
        {"path": "https://example.com/a.png"},
        {"data": [0.25, {"a": [{"path": "http://127.0.0.1/"}]}]},
        [[{"path": "ftp://example.com/"}]],
    ],
)
def test_a_file_of_another_address_is_refused(value):
    assert ask("/gradio_api/queue/join", json.dumps(value).encode()) == (403, b"")
    escaped = json.dumps(value).replace("h", "\\u0068").encode()
    assert ask("/gradio_api/run/predict", escaped, headers=[]) == (403, b"")


def test_an_address_in_the_path_is_refused():
    for kind in ("file=", "proxy="):
        path = f"/gradio_api/{kind}https://example.com/a.png"
        assert ask(path, method="GET", headers=[]) == (403, b"")


def test_a_request_that_is_too_large_is_refused():
    assert ask("/gradio_api/queue/join", bytes(MOST_BYTES + 10), parts=3) == (413, b"")
