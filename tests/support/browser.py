"""A headless Chromium for tests of pages: the one that is installed, driven by playwright."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


@contextlib.contextmanager
def chromium() -> Iterator:
    """A browser of playwright.

    The test is skipped where no Chromium is found; where ``YOLOR_BROWSER`` is set, as in
    ``.ci/run``, it fails.
    """
    from playwright.sync_api import Error, sync_playwright

    installed = os.environ.get("YOLOR_BROWSER") or next(
        filter(None, map(shutil.which, NAMES)), None
    )
    with sync_playwright() as playwright:
        try:
            # Without a path it is the browser that "playwright install chromium" brought.
            browser = playwright.chromium.launch(executable_path=installed, args=QUIET)
        except Error as error:
            if "YOLOR_BROWSER" in os.environ:
                raise
            pytest.skip(f"no Chromium (install it, or: playwright install chromium): {error}")
        yield browser
        browser.close()


class Visit(NamedTuple):
    """A page in a browser and what went on behind it.

    Attributes:
        page: playwright's.
        complaints: errors of its console and of its scripts.
        outside: addresses that it asked for beyond its own.
    """

    page: Any
    complaints: list[str]
    outside: list[str]


@contextlib.contextmanager
def visiting(
    url: str, *, width: int = 1280, height: int = 900, scheme: str = "light"
) -> Iterator[Visit]:
    """Opens a page of a server.

    Args:
        url: of the page.
        width: of the window in pixels.
        height: of it.
        scheme: "light" or "dark", as the page is told that its reader likes it.
    """
    own = "/".join(url.split("/")[:3])
    with chromium() as browser:
        size = {"width": width, "height": height}
        page = browser.new_context(viewport=size, color_scheme=scheme).new_page()
        visit = Visit(page, [], [])

        def hear(message):
            if message.type == "error":
                visit.complaints.append(message.text)

        def see(request):
            if not request.url.startswith((own, "data:", "blob:")):
                visit.outside.append(request.url)

        page.on("console", hear)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on("request", see)
        page.goto(url)
        yield visit
