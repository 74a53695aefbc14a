"""A headless Chromium for tests marked ``browser``, driven by Selenium: what is shown, typed, clicked and logged.

Debian: ``apt-get install chromium chromium-driver``.  Selenium is given the driver's path, so it downloads nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DESKTOP, PHONE = (1300, 900), (390, 844)
"""Width and height of a window in CSS pixels."""
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)
PATIENCE = 20.0
"""Seconds until something expected must have happened; a busy machine is slow."""


class Browser:
    """One page in a headless Chromium; `driver` is Selenium's own object, for all that is not here."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: str | Path, size: tuple[int, int] = DESKTOP, dark: bool = False) -> None:
        """Load a URL or a file in a window of ``size`` that prefers light or dark; the log begins anew."""
        url = page.resolve().as_uri() if isinstance(page, Path) else page
        self.resize(size, dark)
        self._entries("browser"), self._entries("performance")
        self.driver.get(url)

    def resize(self, size: tuple[int, int], dark: bool = False) -> None:
        """Give the window another size, and the page another preferred colour scheme."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def evaluate(self, expression: str, *arguments: Any) -> Any:
        """Value of a JavaScript expression; ``arguments`` are its ``arguments[0]``, ..."""
        return self.driver.execute_script(f"return ({expression})", *arguments)

    def wait_for(self, expression: str, seconds: float = PATIENCE) -> Any:
        """The value of a JavaScript expression as soon as it is truthy; AssertionError when it never is."""
        from selenium.common.exceptions import TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        try:
            wait: Any = WebDriverWait(self.driver, seconds, poll_frequency=0.05)
            return wait.until(lambda _: self.evaluate(expression))
        except TimeoutException:
            raise AssertionError(f"{expression!r} is not true after {seconds:g} s; {self.errors()}") from None

    def text(self, selector: str = "body") -> str:
        """What a reader sees of the first element that a CSS selector finds."""
        return str(self.driver.find_element("css selector", selector).text)

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds."""
        self.driver.find_element("css selector", selector).click()

    def press(self, *keys: str) -> None:
        """Type keys into what has the focus; names are those of ``selenium.webdriver.common.keys.Keys``."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        for key in keys:
            ActionChains(self.driver).send_keys(getattr(Keys, key, key)).perform()

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window; 0 on a page that fits."""
        return int(
            self.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    def errors(self) -> list[str]:
        """Errors and warnings of the page's scripts and loads since it was opened or last asked."""
        return [entry["message"] for entry in self._entries("browser") if entry["level"] != "INFO"]

    def requested(self) -> list[str]:
        """Every URL the page has asked for since it was opened or last asked, ``data:`` left out."""
        events = [json.loads(entry["message"])["message"] for entry in self._entries("performance")]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Save the page as PNG, in its whole height or as far as the window shows it."""
        import base64

        shown = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(shown["data"]))

    def _entries(self, log: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(log)
        return entries


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium with an empty profile, for the whole session."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.fail(
            "tests marked browser need chromium and chromedriver (apt-get install chromium chromium-driver)"
        )
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = Chrome(options=options, service=Service(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The session's Chromium on an empty page, without another test's cookies and windows."""
    chromium.open("about:blank")
    yield chromium
    chromium.driver.delete_all_cookies()
