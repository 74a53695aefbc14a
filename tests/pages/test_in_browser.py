"""Both pages in a real browser: keys, buttons, playing, two sizes, two colour schemes, no script error."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from real2sim.pages.guard import Guard
from real2sim.pages.label_page import label_app
from real2sim.pages.label_session import LabelConfig, LabelSession
from real2sim.pages.server import listen
from real2sim.pages.view_page import RunView, ViewConfig, view_app
from real2sim.success.label_key import read_key
from tests.headless_chromium import DESKTOP, PHONE, Browser
from tests.pages.conftest import MakeRun

pytestmark = pytest.mark.browser
Serve = Callable[[Guard], str]
DRAWN = "document.getElementById('screen').dataset.drawn"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves pages from threads and gives their addresses."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: Guard) -> str:
        found = listen("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{found.getsockname()[1]}/"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


def labels(run: Path) -> list[str]:
    path = run / "labels.csv"
    return [row["label"] for row in csv.DictReader(path.open())] if path.is_file() else []


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_rater_labels_with_keys_alone(browser: Browser, serve: Serve, tiny_run: Path) -> None:
    browser.open(serve(label_app(LabelSession(LabelConfig(tiny_run, rater="ann")))))
    browser.wait_for(DRAWN)
    assert browser.text("#question") == "Is this done at the end: “close drawer”?"
    for number, (key, label) in enumerate((("s", "success"), ("f", "failure"), ("u", "unclear")), start=1):
        browser.press(key)
        browser.wait_for(f"document.getElementById('count').textContent === '{number} of 4'")
        assert labels(tiny_run)[-1] == label
    browser.press("z")
    browser.wait_for("document.getElementById('count').textContent === '2 of 4'")
    assert labels(tiny_run) == ["success", "failure"]
    browser.press("F")
    browser.wait_for("document.getElementById('count').textContent === '3 of 4'")
    browser.press("s")
    browser.wait_for("!document.getElementById('end').hidden")
    assert browser.text("#counts") == "2 success, 2 failure, 0 unclear"
    assert not browser.driver.find_element("css selector", "[data-label=success]").is_displayed()
    browser.click("#undo")
    browser.wait_for("!document.getElementById('work').hidden")
    assert labels(tiny_run) == ["success", "failure", "failure"]
    assert browser.errors() == []


def test_the_episode_plays_pauses_and_steps(browser: Browser, serve: Serve, tiny_run: Path) -> None:
    browser.open(serve(label_app(LabelSession(LabelConfig(tiny_run)))))
    # It plays by itself; a slow machine may not be asked in time for each frame, so only the beginning is waited for.
    browser.wait_for(f"Number({DRAWN}) >= 1")
    browser.press("SPACE")
    assert browser.text("#play") == "Play"
    browser.press("HOME")
    browser.wait_for(f"{DRAWN} === '0'")
    browser.press("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_LEFT", "ARROW_RIGHT")
    browser.wait_for(f"{DRAWN} === '2'")
    assert browser.text("#frame") == "3 of 5"
    browser.press("END")
    browser.wait_for(f"{DRAWN} === '4'")
    last = browser.evaluate("document.getElementById('screen').toDataURL()")
    assert last == browser.evaluate("document.getElementById('last').toDataURL()")
    assert last != browser.evaluate("document.getElementById('first').toDataURL()")
    browser.press("x")
    assert browser.evaluate("document.getElementById('slow').getAttribute('aria-pressed')") == "true"
    browser.click("#again")
    browser.wait_for(f"Number({DRAWN}) < 4")
    assert labels(tiny_run) == []


def test_buttons_answer_and_the_space_bar_does_not_answer_again(
    browser: Browser, serve: Serve, tiny_run: Path
) -> None:
    browser.open(serve(label_app(LabelSession(LabelConfig(tiny_run)))), PHONE)
    browser.wait_for(DRAWN)
    browser.click("[data-label=failure]")
    browser.wait_for("document.getElementById('count').textContent === '1 of 4'")
    browser.press("SPACE", "SPACE")
    time.sleep(0.3)
    assert labels(tiny_run) == ["failure"]


def test_the_browser_learns_no_name(browser: Browser, serve: Serve, tiny_run: Path) -> None:
    address = serve(label_app(LabelSession(LabelConfig(tiny_run))))
    browser.open(address)
    browser.wait_for(DRAWN)
    urls = browser.requested()
    assert urls and all(url.startswith(address) for url in urls)
    known = [
        *urls,
        browser.evaluate("document.documentElement.outerHTML"),
        browser.evaluate("document.title"),
    ]
    assert not [text for text in known if "begin" in text or tiny_run.name in text]
    clips = {url.split("/clips/")[1].split("/")[0] for url in urls if "/clips/" in url}
    assert clips <= set(read_key(tiny_run))


def test_a_stopped_server_is_told(
    browser: Browser, serve: Serve, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = LabelSession(LabelConfig(tiny_run))
    browser.open(serve(label_app(session)))
    browser.wait_for(DRAWN)

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("real2sim.success.rater_file.write_labels", full)
    browser.press("s")
    browser.wait_for("!document.getElementById('problem').hidden")
    assert "the terminal" in browser.text("#problem")
    monkeypatch.undo()
    browser.press("s")
    wait_until(lambda: labels(tiny_run) == ["success"])
    browser.wait_for("document.getElementById('problem').hidden")


def test_a_run_is_browsed_and_compared(browser: Browser, serve: Serve, make_run: MakeRun) -> None:
    view = RunView(ViewConfig(make_run("simulated"), make_run("physics", world="mujoco")))
    browser.open(serve(view_app(view)))
    browser.wait_for("document.querySelectorAll('#rows button').length === 12")
    browser.wait_for(DRAWN)
    assert "early" in browser.text("#caption") and "failure" in browser.text("#caption")
    assert "real, in physics" in browser.text("#other-caption")
    browser.press("j", "j")
    browser.wait_for("document.querySelectorAll('#rows button')[2].getAttribute('aria-current') === 'true'")
    assert "no verdict" in browser.text("#caption")
    browser.evaluate(
        "(document.getElementById('verdict').value = 'success', "
        "document.getElementById('verdict').dispatchEvent(new Event('change')))"
    )
    browser.wait_for("document.querySelectorAll('#rows button').length === 2")
    browser.click("#rows button")
    browser.wait_for("document.getElementById('caption').textContent.includes('late')")
    browser.press("END")
    browser.wait_for(f"{DRAWN} === '5' && document.getElementById('other').dataset.drawn === '5'")
    shown = [option.text for option in browser.driver.find_elements("css selector", "#beside option")]
    assert shown[0] == "nothing"
    assert shown[1].startswith("real, in physics: late (physics)")
    assert browser.errors() == []


def test_no_key_is_lost_while_an_episode_is_loaded(
    browser: Browser, serve: Serve, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = RunView.episode

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.3)
        return read(*arguments)

    monkeypatch.setattr(RunView, "episode", slowly)
    browser.open(serve(view_app(RunView(ViewConfig(make_run())))))
    browser.wait_for(DRAWN)
    browser.press("j", "j", "j", "k")
    browser.wait_for("document.querySelectorAll('#rows button')[2].getAttribute('aria-current') === 'true'")


def test_a_long_run_is_turned_over_part_by_part(browser: Browser, serve: Serve, make_run: MakeRun) -> None:
    browser.open(serve(view_app(RunView(ViewConfig(make_run(starts=20, frames=2))))))
    browser.wait_for("document.querySelectorAll('#rows button').length === 50")
    browser.click("#following")
    browser.wait_for("document.querySelectorAll('#rows button').length === 30")
    assert browser.text("#part").startswith("51 to 80 of 80")
    assert not browser.driver.find_element("id", "following").is_enabled()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_their_window(
    browser: Browser, serve: Serve, make_run: MakeRun, size: tuple[int, int], dark: bool
) -> None:
    run = make_run("a-run-with-a-rather-long-name-" * 3, policies=("a-policy-with-a-rather-long-name-" * 4,))
    for app in (label_app(LabelSession(LabelConfig(run))), view_app(RunView(ViewConfig(run)))):
        browser.open(serve(app), size, dark)
        browser.wait_for(DRAWN)
        assert browser.overflow() == 0
        colours = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, colours[4:-1].split(","))) < 200) is dark
        assert browser.errors() == []
