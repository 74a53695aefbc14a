"""The page that browses a run: routes, and the command that serves it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from real2sim.checks import check_kinds, check_whole
from real2sim.episodes.npz import read_npz
from real2sim.episodes.run_folder import RUN_FILE
from real2sim.pages.beside import companions, real_outcomes, recorded_episode
from real2sim.pages.episode_files import (
    NotHereError,
    frames_per_second,
    inside,
    recorded_files,
    run_frames,
)
from real2sim.pages.frame_sheets import FrameSheets
from real2sim.pages.guard import Guard
from real2sim.pages.run_index import Filter, RunIndex, run_signature
from real2sim.pages.server import local_app, serve, whole_number

LARGEST_PART = 200
"""Episodes of one answer."""
KEPT = {"cache-control": "private, max-age=60"}
DATASET = "recorded"
"""What stands for the number of a run where the recordings of a dataset folder are meant."""


@dataclass(frozen=True)
class ViewConfig:
    """Look at the episodes of a run, alone or beside another, on a local page."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""
    other: Annotated[Path | None, tyro.conf.Positional] = None
    """Another run (other weights, another world, physics), or the dataset folder that the suite was made from."""
    host: str = "127.0.0.1"
    """Address to listen on; the default is reachable from this machine alone."""
    port: int = 8766
    """Port to listen on; 0 is any free one."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_whole("port", self.port, 0, 65_535)


class RunView:
    """One or two runs, and the recordings of a dataset folder, as the page asks for them."""

    def __init__(self, config: ViewConfig) -> None:
        other = config.other
        self.dataset = None if other is None or (other / RUN_FILE).is_file() else other
        folders = [config.run] if other is None or self.dataset is not None else [config.run, other]
        self._real = real_outcomes(config.run)
        self.runs = [RunIndex(folder, self._real) for folder in folders]
        if self.dataset is not None:
            recorded_files(self.dataset)  # refuses what is no dataset folder
        self._sheets = FrameSheets(self._frames)
        self._lock = threading.Lock()

    def facts(self) -> dict[str, Any]:
        """What the page can offer; notices what has been added to the runs."""
        with self._lock:
            for place, run in enumerate(self.runs):
                if run_signature(run.folder) != run.signature:
                    self.runs[place] = RunIndex(run.folder, self._real)
        names = [run.folder.resolve().name for run in self.runs]
        if len(names) == 2 and names[0] == names[1]:
            names = [str(run.folder) for run in self.runs]
        return {
            "runs": [{"name": name, **run.facts()} for name, run in zip(names, self.runs, strict=True)],
            "dataset": None if self.dataset is None else self.dataset.name,
            "real": bool(self._real),
        }

    def part(self, request: Request) -> dict[str, Any]:
        """A part of the wanted episodes."""
        query = request.query_params
        wanted = Filter(**{field.name: query.get(field.name, "") for field in fields(Filter)})
        offset = whole_number(request, "offset", 0, 0, 10**9)
        limit = whole_number(request, "limit", 50, 1, LARGEST_PART)
        found = self._run(request).part(wanted, offset, limit)
        for row in found["rows"]:
            row["real"] = self._real_of(row)
        return found

    def episode(self, request: Request) -> dict[str, Any]:
        """One episode with all that its player needs, and what it can be shown beside."""
        place, name = whole_number(request, "run", 0, 0, 1), request.query_params.get("episode", "")
        run = self._run(request)
        row = run.row(name, request.query_params.get("judge", ""))
        shown = {**row, "run": place, "real": self._real_of(row)}
        beside = companions(self.runs, place, row)
        if self.dataset is not None:
            path = recorded_episode(self.dataset, str(row["start"]), run_frames(run.folder, name)[0])
            if path is not None:
                beside.insert(
                    0, {"run": DATASET, "episode": path.stem, "relation": "recorded", "policy": DATASET}
                )
        return {"episode": shown, "beside": beside}

    def layout(self, request: Request) -> dict[str, Any]:
        """How the frames of an episode lie on their sheets."""
        key = self._key(request)
        folder = self.dataset if key[0] == DATASET else self.runs[int(key[0])].folder
        assert folder is not None
        return {**self._sheets.layout("/".join(key)), "hz": frames_per_second(folder)}

    def sheet(self, request: Request) -> Response:
        """Frames of an episode as PNG."""
        png = self._sheets.png("/".join(self._key(request)), whole_number(request, "sheet", 0, 0, 10**6))
        return Response(png, media_type="image/png", headers=KEPT)

    def _key(self, request: Request) -> tuple[str, str]:
        """Run and name of an episode that is there."""
        place, name = request.query_params.get("run", "0"), request.query_params.get("episode", "")
        if place == DATASET and self.dataset is not None:
            if not any(path.stem == name for path in self.dataset.glob("*.npz")):
                raise NotHereError("the dataset has no such episode")
        elif not self._run(request).holds(name):
            raise NotHereError("the run has no such episode")
        return place, name

    def _frames(self, key: str) -> np.ndarray:
        place, _, name = key.partition("/")
        if place == DATASET:
            assert self.dataset is not None
            return read_npz(inside(self.dataset, self.dataset / f"{name}.npz"), ["image"])["image"]
        return run_frames(self.runs[int(place)].folder, name)

    def _run(self, request: Request) -> RunIndex:
        return self.runs[whole_number(request, "run", 0, 0, len(self.runs) - 1)]

    def _real_of(self, row: dict[str, Any]) -> dict[str, int] | None:
        outcomes = self._real.get((str(row["policy"]), str(row["task"]), str(row["start"])))
        return None if outcomes is None else {"successes": sum(outcomes), "trials": len(outcomes)}


def view_app(view: RunView, host: str = "127.0.0.1") -> Guard:
    """The page of a run."""
    answers = {
        "/api/facts": lambda _: JSONResponse(view.facts()),
        "/api/episodes": lambda request: JSONResponse(view.part(request)),
        "/api/episode": lambda request: JSONResponse(view.episode(request)),
        "/api/layout": lambda request: JSONResponse(view.layout(request)),
        "/frames.png": view.sheet,
    }
    return local_app("view.html", {"view.js": "text/javascript"}, answers, host=host)


def view(config: ViewConfig) -> None:
    """Serve the page until Ctrl-C."""
    serve(view_app(RunView(config), config.host), config.host, config.port, f"look at {config.run} here")
