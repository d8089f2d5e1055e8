"""A headless Chromium for tests of pages: the one that is installed, driven by playwright."""

import contextlib
import os
import shutil
from collections.abc import Iterator

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
