"""The page as a reader has it before her: sorted, filtered, played, folded, dark, and on a phone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_suite import make_suite

from real2sim.report.report import make_report
from tests.headless_chromium import DESKTOP, PHONE, Browser

pytestmark = pytest.mark.browser

FIRST_SCREEN = (
    "[...document.querySelector('.answer').children].map(box => box.getBoundingClientRect().bottom)"
)
CONTRAST = """(() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const linear = (v) => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(linear)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    let below = [255, 255, 255];
    for (const [r, g, b, a = 1] of layers.reverse()) below = [r, g, b].map((v, i) => a * v + (1 - a) * below[i]);
    return below;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!words || !element.checkVisibility() || ["SCRIPT", "STYLE", "title"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const inside = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    if (element.classList.contains("on")) continue;
    const [a, b] = [light(parse(inside)), light(behind(element))];
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), element.tagName, element.textContent.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 3);
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, frames) -> Path:
    folder = tmp_path_factory.mktemp("page")
    suite = make_suite(policies=12, starts=25)
    other = suite.episodes.assign(world="another world", episode=suite.episodes["episode"] + "-b")
    episodes = pd.concat([suite.episodes.assign(world="one world"), other], ignore_index=True)
    np.savez(folder / "one.npz", frames=frames("x"))
    episodes["video"] = str(folder / "one.npz")
    episodes["success"] = episodes["success"].astype(object)
    episodes.loc[::9, "success"] = None
    labels = [("by eye", suite.labels)]
    made = make_report(
        episodes,
        suite.real,
        real_episodes=suite.real_episodes,
        judge_labels=labels,
        frames=frames,
        out=folder,
    )
    assert len(made.verdicts) == 2
    return folder / "report.html"


def cells(browser: Browser, column: int) -> list[str]:
    """What stands in a column of the ranking, rows that are hidden left out."""
    rows = "[...document.querySelector('table').tBodies[0].rows].filter(row => !row.hidden)"
    return list(browser.evaluate(f"{rows}.map(row => row.cells[{column}].textContent)"))


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_asks_for_nothing_and_logs_nothing(browser: Browser, page: Path, size, dark) -> None:
    browser.open(page, size, dark)
    assert browser.overflow() == 0
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.overflow() == 0
    assert browser.requested() == [page.resolve().as_uri()]
    assert browser.errors() == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_best_policy_trust_and_next_step_stand_in_the_first_screen(
    browser: Browser, page: Path, size
) -> None:
    browser.open(page, size)
    assert max(browser.evaluate(FIRST_SCREEN)) < size[1]
    assert "Which policy is best?" in browser.text(".box.best")
    assert "policy-11" in browser.text(".box.best")
    assert "Can I believe it?" in browser.text(".answer")
    assert len(browser.text(".box.next")) > 40


@pytest.mark.parametrize("dark", [False, True])
def test_all_words_stand_out_from_their_background(browser: Browser, page: Path, dark) -> None:
    browser.open(page, DESKTOP, dark)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    lowest = browser.evaluate(CONTRAST)
    assert lowest[0][0] >= 4.5, lowest
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 150) == dark


def test_a_header_sorts_by_its_numbers_and_back(browser: Browser, page: Path) -> None:
    browser.open(page)
    ranked = cells(browser, 1)
    assert ranked[0] == "policy-11"
    browser.click("thead th:nth-child(2) .sort")
    assert cells(browser, 1) == sorted(ranked)
    browser.click("thead th:nth-child(3) .sort")
    rates = [int(text.split()[0].strip("<>")) for text in cells(browser, 2)]
    assert rates == sorted(rates, reverse=True)
    assert browser.evaluate("document.querySelector('thead th:nth-child(3)').ariaSort") == "descending"
    browser.click("thead th:nth-child(3) .sort")
    assert cells(browser, 1) == ranked[::-1] or rates[::-1] == [
        int(text.split()[0].strip("<>")) for text in cells(browser, 2)
    ]


def test_typing_filters_rows_and_counts_them(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click(".filter input")
    browser.press("1", "1")
    assert cells(browser, 1) == ["policy-11"]
    assert browser.text(".filter [role=status]") == "1 of 12"
    browser.press("BACKSPACE", "BACKSPACE")
    assert len(cells(browser, 1)) == 12


def test_a_film_plays_when_it_is_pressed_and_stops(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    player = "document.querySelector('.films .player')"
    assert browser.evaluate(f"getComputedStyle({player}).display") == "none"
    browser.click(".reel")
    assert browser.evaluate(f"getComputedStyle({player}).display") == "block"
    browser.wait_for(f"Number({player}.style.getPropertyValue('--i')) >= 2")
    assert browser.evaluate(f"getComputedStyle({player}).backgroundImage.startsWith('url(\"data:image/webp')")
    browser.click(".reel.playing")
    assert browser.evaluate("document.querySelector('.reel.playing')") is None
    browser.evaluate("document.querySelector('.reel').focus()")
    browser.press("ENTER")
    assert browser.evaluate("document.querySelector('.reel').classList.contains('playing')")


def test_parts_fold_and_links_unfold_them(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert not browser.evaluate("document.querySelector('#judge').open")
    browser.click("#judge > summary")
    assert browser.evaluate("document.querySelector('#judge').open")
    browser.evaluate("void (location.hash = '#policies-in-another-world-rates')")
    browser.wait_for("document.querySelector('#policies-in-another-world-rates').open")
    assert browser.evaluate("document.querySelector('#policies-in-another-world').open")
    browser.click(".bar button")
    assert browser.evaluate("[...document.querySelectorAll('main details')].every(d => d.open)")
    browser.click(".bar button")
    assert not browser.evaluate("[...document.querySelectorAll('main details')].some(d => d.open)")


def test_two_worlds_stand_side_by_side(browser: Browser, page: Path) -> None:
    browser.open(page)
    said = browser.text("#side")
    assert "policies in one world" in said
    assert "policies in another world" in said
    assert browser.evaluate("document.querySelectorAll('#side table')[1].tBodies[0].rows.length") == 24


def test_tables_have_captions_scopes_and_boxes_that_take_the_focus(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.evaluate(
        "[...document.querySelectorAll('table')].every(t => t.caption?.textContent.trim())"
    )
    assert browser.evaluate("[...document.querySelectorAll('th')].every(t => t.scope)")
    assert browser.evaluate(
        "[...document.querySelectorAll('.scroll')].every(b => b.tabIndex === 0 && b.ariaLabel && b.role === 'region')"
    )
    assert browser.evaluate("[...document.querySelectorAll('svg')].every(s => s.ariaHidden || s.ariaLabel)")


def test_episodes_without_a_verdict_have_a_table(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click("#judge > summary")
    assert "Episodes without a verdict" in browser.text("#judge")


def test_links_lead_to_the_files_beside_the_page(browser: Browser, page: Path) -> None:
    browser.open(page)
    links = set(browser.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"))
    assert {"./report.csv", "./metrics.json", "./one.npz"} <= links
    assert all((page.parent / link).exists() for link in links)
