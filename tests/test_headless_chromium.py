"""The browser that tests of pages use sees what a reader sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.headless_chromium import DESKTOP, PHONE, Browser

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><meta name="viewport" content="width=device-width"><title>page</title>
<style>@media (prefers-color-scheme: dark) { body { background: rgb(1, 2, 3); } } .wide { width: 600px; }</style>
<p id="said">nothing</p><button>go</button><div class="wide">wide</div><img src="missing.png">
<script>
document.querySelector("button").onclick = () => { said.textContent = "clicked"; };
addEventListener("keydown", (event) => { said.textContent = event.key; });
</script>"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text(PAGE)
    return path


def test_clicks_and_keys_reach_the_page(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.text("#said") == "nothing"
    browser.click("button")
    browser.wait_for("said.textContent === 'clicked'")
    browser.press("ARROW_RIGHT")
    browser.wait_for("said.textContent === 'ArrowRight'")
    with pytest.raises(AssertionError, match="never"):
        browser.wait_for("said.textContent === 'never'", seconds=0.2)


def test_the_window_has_the_size_and_the_colours_asked_for(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    browser.open(page, DESKTOP)
    assert browser.evaluate("innerWidth") == DESKTOP[0]
    assert browser.overflow() == 0
    browser.open(page, PHONE, dark=True)
    assert browser.overflow() > 200
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(1, 2, 3)"
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def test_requests_and_failed_loads_are_told(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.requested() == [page.as_uri(), page.with_name("missing.png").as_uri()]
    assert "missing.png" in "".join(browser.errors())
