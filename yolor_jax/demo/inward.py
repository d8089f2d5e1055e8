"""Keeps a gradio page to itself: requests that would make it fetch something are refused.

    app.add_middleware(Inward)

Gradio fetches what a request names by URL: through ``/gradio_api/file=https://...``, and where an
input says that it is a file of that address. Neither is needed for pictures that are uploaded.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST_BYTES = 1 << 20
"""Of a request that is no upload: thresholds, classes, the name of an uploaded file."""


class Inward:
    """A layer of an ASGI application."""

    def __init__(self, app: App):
        """See `Inward`.

        Args:
            app: what answers the requests that are let through.
        """
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers 403 where a request names a URL, 413 where it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif "://" in scope["path"]:
            await _refuse(send, 403)
        elif scope["method"] != "POST" or _is_upload(scope):
            await self._app(scope, receive, send)
        else:
            body = await _body(receive)
            if len(body) > MOST_BYTES:
                await _refuse(send, 413)
            elif _names_url(body):
                await _refuse(send, 403)
            else:
                await self._app(scope, _again(body, receive), send)


def _is_upload(scope: MutableMapping[str, Any]) -> bool:
    kind = dict(scope["headers"]).get(b"content-type", b"")
    return kind.lower().startswith(b"multipart/")


async def _body(receive: Receive) -> bytes:
    """The body of a request, or the beginning of one that is too large."""
    body = b""
    while len(body) <= MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that has been read, then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return messages.pop() if messages else await receive()

    return give


def _names_url(body: bytes) -> bool:
    """Whether a JSON value has a file that is a URL at any depth."""
    try:
        values = [json.loads(body)]
    except ValueError:
        return False
    while values:
        value = values.pop()
        if isinstance(value, dict):
            if "://" in str(value.get("path")):
                return True
            values += value.values()
        elif isinstance(value, list):
            values += value
    return False


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})
