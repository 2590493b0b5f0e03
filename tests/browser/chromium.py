"""Chromium as the system has it: playwright's own would be another download."""

import shutil

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = f"no {', '.join(NAMES)} on the path: apt-get install chromium"
OPTIONS = [
    "--no-sandbox",  # CI runs as root, where chromium starts with no other
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]


def find() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def launch(playwright: Playwright, *options: str) -> Browser:
    """Without a window, and without names of other machines."""
    return playwright.chromium.launch(executable_path=find(), args=[*OPTIONS, *options])
