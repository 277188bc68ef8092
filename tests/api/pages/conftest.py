"""The pages in the system's Chromium: a browser for a test file, and screenshots in build/screenshots."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.settings import Settings
from tests.api.service import RunningService

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
# As root there is no sandbox, and nothing is to be asked of the world.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """The browser that the tests drive: REGRAFT_CHROMIUM, or the system's."""
    named = os.environ.get("REGRAFT_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return named or next((found for found in map(shutil.which, names) if found), None)


# A file's, not the session's: while it is open an event loop runs in this thread, where others start theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; skips where there is none."""
    path = chromium()
    if path is None:
        pytest.skip("needs Chromium: install the package chromium, or name a browser in REGRAFT_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages, each in a context of its own; what a page complains of fails the test."""
    contexts, complaints = [], []

    def complain(kind: str, text: str) -> None:
        if kind in ("error", "pageerror") and "the server responded with a status of" not in text:
            complaints.append(text)

    def start(*, width: int = 1440, dark: bool = False, state: object = None, csp: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900 if width > 600 else 844},
            color_scheme="dark" if dark else "light",
            storage_state=state,  # type: ignore[arg-type]
            bypass_csp=not csp,
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complain(message.type, message.text))
        page.on("pageerror", lambda error: complain("pageerror", str(error)))
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for a file's tests; it solves nothing."""
    path = tmp_path_factory.mktemp("pages") / "regraft.sqlite"
    shutil.copy(sqlite_template, path)
    running = RunningService(Settings(database=f"sqlite:///{path}", run_workers=0, key_recheck_s=0.0))
    yield running
    running.stop()


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot of the whole page as an artefact of the test run."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
