from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from made_up_suite import TASKS, make_suite

from real2sim.report.published import simpler_families, simpler_real_rates, simpler_simulated_rates
from real2sim.report.report import make_report

ABSENT = re.compile(r"(?<![A-Za-z])(nan|NaN|None|inf|Traceback|NaT)(?![A-Za-z])")


class Page(HTMLParser):
    """Text, images and addresses of a page; fails on tags that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.images: list[dict[str, str]] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if attributes.get("role") == "img" or attributes.get("class") == "reel":
            self.images.append(attributes)
        self.addresses += [v for k, v in attributes.items() if k in ("src", "href", "action") and v]
        if tag not in ("img", "meta", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read_page(folder) -> tuple[Page, str, dict]:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    text = " ".join(" ".join(page.text).split())
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert not ABSENT.search(text), ABSENT.search(text)
    return page, text, metrics


@pytest.fixture(scope="module")
def written(suite, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    two_sets = make_suite(sets=True)
    labels = [("held-out physics episodes", suite.labels), ("generated episodes", suite.labels)]
    made = make_report(
        two_sets.episodes,
        two_sets.real,
        real_episodes=two_sets.real_episodes,
        judge_labels=labels,
        frames=frames,
        out=folder,
        title="Made-up suite <1>",
        real_name="real = MuJoCo physics",
        provenance={"World model": "toy & tiny"},
    )
    return made, folder


def test_page_needs_no_network_and_every_image_says_what_it_shows(written):
    page, _, _ = read_page(written[1])
    assert page.images
    assert all(address.startswith(("data:image/", "#", "./")) for address in page.addresses)
    assert all(len(image["aria-label"]) > 20 for image in page.images)
    source = (written[1] / "report.html").read_text(encoding="utf-8")
    script = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    assert len(script) == source.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        in source
    )
    assert "@import" not in source
    assert 'name="viewport"' in source


def test_page_names_what_plays_reality_and_shows_both_sets(written):
    _, text, _ = read_page(written[1])
    assert "“real” is MuJoCo physics" in text
    for words in (
        "Policies",
        "Scripted controllers",
        "toy & tiny",
        "Made-up suite <1>",
        "generated episodes",
    ):
        assert words in text


def test_every_rate_on_the_page_has_its_count(written):
    made, folder = written
    _, text, _ = read_page(folder)
    for row in made.rates.itertuples():
        assert f"{row.sim_successes:.0f} of {row.sim_episodes:.0f}" in text
        assert f"{row.real_successes:.0f} of {row.real_episodes:.0f}" in text


def test_folder_holds_table_numbers_and_figures_in_both_kinds(written):
    made, folder = written
    table = pd.read_csv(folder / "report.csv")
    assert len(table) == len(made.rates) == 16
    names = {path.stem for path in (folder / "figures").iterdir()}
    for name in names:
        assert (folder / "figures" / f"{name}.svg").read_bytes().startswith(b"<?xml")
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in folder.rglob(".*")]


def test_metrics_hold_the_documented_keys_for_the_first_set(written):
    made, folder = written
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == made.metrics
    assert metrics["set"] == "policies"
    assert metrics["policies"] == 4
    assert metrics["families"] == 3
    assert metrics["episodes"] == 4 * 2 * 40
    assert metrics["frame_passes_per_frame"] == 3
    main = made.rates[made.rates["set"] == "policies"]
    assert metrics["pearson"] == pytest.approx(np.corrcoef(main["sim_rate"], main["real_rate"])[0, 1])
    assert metrics["mae_points"] == pytest.approx(main["gap_points"].abs().mean())
    assert set(metrics["sets"]) == {"policies", "scripted controllers"}
    for found in metrics["sets"].values():
        assert set(found["tasks"]) == set(TASKS)
        assert set(found["episode_agreement"]) == {"pooled", *TASKS}
        for scope in (found["pooled"], found["task_average"], *found["tasks"].values()):
            assert {"pearson", "mmrv", "mae_points", "pearson_low", "mmrv_high", "points", "policies"} <= set(
                scope
            )


def test_every_key_of_the_metrics_is_documented(written):
    from pathlib import Path

    documented = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    metrics = written[0].metrics
    first = next(iter(metrics["sets"].values()))
    for key in [*metrics, *first, *first["pooled"]]:
        stem = re.sub(r"_(low|high|drop_one_low|drop_one_high|unsupported)$", "", key)
        assert f"`{key}`" in documented or f"`{stem}`" in documented, key


def test_film_strips_show_a_success_and_a_failure_of_each_policy(written):
    made, folder = written
    page, _, _ = read_page(folder)
    strips = [
        image["aria-label"].removesuffix(". Press to play.") for image in page.images if "reel" in str(image)
    ]
    for policy in made.episodes["policy"].unique():
        own = [alt for alt in strips if f"of {policy}:" in alt]
        kinds = set(made.episodes.loc[made.episodes["policy"] == policy, "success"])
        for kind in kinds:
            assert any(alt.endswith("success" if kind else "failure") for alt in own)


def test_missing_episode_files_are_a_remark_and_a_warning_and_not_an_error(suite, tmp_path, caplog):
    episodes = suite.episodes.assign(video="nowhere/episode.npz")
    make_report(episodes, suite.real, out=tmp_path)
    _, text, _ = read_page(tmp_path)
    assert "film strips could not be drawn" in text
    assert "film strips could not be drawn; the first: " in caplog.text
    assert "nowhere/episode.npz" in caplog.text


def test_frames_are_read_from_the_column_video(suite, frames, tmp_path):
    np.savez(tmp_path / "one.npz", frames=frames("x"), actions=np.zeros((5, 13), np.float32))
    episodes = suite.episodes.assign(video=str(tmp_path / "one.npz"))
    make_report(episodes, suite.real, out=tmp_path / "out")
    page, _, _ = read_page(tmp_path / "out")
    assert any(image["aria-label"].startswith("Film strip") for image in page.images)


def one_policy(episodes, name="policy-4"):
    return episodes[episodes["policy"] == name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: (s.episodes, None), "no real rates were given"),
        (lambda s: (s.episodes.head(0), s.real), "no scored episodes"),
        (lambda s: (s.episodes, s.real.head(0)), "no policy of this run was also measured"),
        (
            lambda s: (s.episodes, s.real.assign(policy="stranger-" + s.real["policy"])),
            "Not among the real rates",
        ),
        (lambda s: (s.episodes, s.real[s.real["policy"] != "policy-3"]), "Not among the real rates"),
        (lambda s: (s.episodes, s.real.drop(index=3)), "Real rate missing"),
        (lambda s: (one_policy(s.episodes), s.real), "ranking cannot be judged"),
        (
            lambda s: (s.episodes[s.episodes["policy"].isin(["policy-1", "policy-6"])], s.real),
            "too few policies",
        ),
        (lambda s: (s.episodes.assign(success=True), s.real), "all simulated rates are equal"),
        (lambda s: (s.episodes, s.real.assign(successes=s.real["episodes"])), "all real rates are equal"),
        (lambda s: (s.episodes, s.real.assign(successes=0, episodes=0)), "hold no episode of"),
        (lambda s: (s.episodes.assign(success=None), s.real), "no scored episodes"),
        (
            lambda s: (s.episodes[s.episodes["task"] == TASKS[0]], s.real),
            "Measured in reality but not simulated",
        ),
        (lambda s: (s.episodes.drop(columns=["family", "start", "seed"]), s.real), "counted as independent"),
        (
            lambda s: (
                pd.concat([s.episodes, s.episodes.head(3).assign(episode="new", set="second")]),
                s.real,
            ),
            "Second",
        ),
        (
            lambda s: (
                s.episodes[(s.episodes["policy"] < "policy-4") == (s.episodes["task"] == TASKS[0])],
                s.real,
            ),
            "No task was run by all policies",
        ),
    ],
)
def test_what_is_missing_is_said_and_nothing_breaks(suite, tmp_path, change, words):
    episodes, real = change(suite)
    paired = None if real is None else suite.real_episodes
    labels = [("by eye", suite.labels.head(3))]
    made = make_report(episodes, real, real_episodes=paired, judge_labels=labels, out=tmp_path)
    _, text, _ = read_page(tmp_path)
    assert words in text
    json.dumps(made.metrics, allow_nan=False)


def test_a_perfect_simulator_is_called_good_and_a_random_one_is_not():
    good = make_suite(policies=8, starts=60, error=0.0)
    made = make_report(good.episodes, good.real, real_episodes=good.real_episodes)
    assert next(iter(made.verdicts.values())).grade == "good"
    assert made.metrics["mmrv"] == 0
    rng = np.random.default_rng(5)
    random = good.episodes.assign(success=rng.random(len(good.episodes)) < 0.5)
    assert next(iter(make_report(random, good.real).verdicts.values())).grade == "bad"


def test_a_reversed_simulator_gets_no_praise():
    suite = make_suite(error=1.0)
    made = make_report(suite.episodes, suite.real)
    assert made.metrics["pearson"] < -0.9
    assert next(iter(made.verdicts.values())).grade == "bad"


@pytest.mark.slow
def test_published_rates_without_episodes_make_a_report(tmp_path):
    simulated = simpler_simulated_rates()
    simulated["set"], simulated["family"] = simulated["suite"], simulated["policy"].map(simpler_families())
    made = make_report(simulated, simpler_real_rates(), out=tmp_path, real_name="the real robot")
    _, text, metrics = read_page(tmp_path)
    assert metrics["sets"]["google_robot"]["tasks"]["google_robot_close_drawer"]["mmrv"] == pytest.approx(
        0.12333333333
    )
    assert "Only simulated rates were given" in text
    assert made.verdicts["widowx_bridge"].grade == "unknown"


@pytest.mark.slow
def test_same_input_gives_the_same_files(suite, tmp_path):
    for name in ("a", "b"):
        make_report(suite.episodes, suite.real, out=tmp_path / name)
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_hostile_names_are_shown_as_text(suite, tmp_path):
    name = "<script>alert(1)</script> & “policy” $x_2$"
    episodes = suite.episodes.assign(policy=suite.episodes["policy"].replace("policy-3", name))
    make_report(episodes, suite.real, out=tmp_path)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert source.count("<script>") == 1
    assert "<script>alert" not in source
    read_page(tmp_path)


@pytest.mark.parametrize("name", ["$", "cost $x^{$ and $y"])
def test_dollar_signs_in_names_are_not_formulas(name, tmp_path):
    suite = make_suite(policies=4, starts=10)
    names = {"policy-3": name, TASKS[0]: f"task {name}"}
    episodes, real = suite.episodes.replace(names), suite.real.replace(names)
    make_report(episodes, real, out=tmp_path, real_name=f"real = {name}")
    _, text, _ = read_page(tmp_path)
    assert name in text


@pytest.mark.slow
def test_a_hundred_thousand_episodes_take_less_than_ten_seconds(tmp_path):
    suite = make_suite(policies=12, starts=4200)
    begin = time.process_time()
    make_report(suite.episodes, suite.real, real_episodes=suite.real_episodes, out=tmp_path)
    assert len(suite.episodes) > 100_000
    assert time.process_time() - begin < 10


@pytest.mark.slow
def test_two_hundred_policies_take_less_than_thirty_seconds(tmp_path):
    suite = make_suite(policies=200, starts=40)
    begin = time.process_time()
    make_report(suite.episodes, suite.real, real_episodes=suite.real_episodes, out=tmp_path)
    assert time.process_time() - begin < 30
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
