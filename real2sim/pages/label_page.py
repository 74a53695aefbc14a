"""The labelling page: routes, and the command that serves it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from real2sim.pages.guard import Guard
from real2sim.pages.label_session import LabelConfig, LabelSession
from real2sim.pages.server import listen, local_app, serve
from real2sim.success.rater_agreement import compare_raters
from real2sim.success.rater_file import RaterFile

KEPT = {"cache-control": "private, max-age=3600"}
"""Frames of an episode never change."""


def label_app(session: LabelSession, host: str = "127.0.0.1") -> Guard:
    """The page of a rater."""

    def sheet(request: Request) -> Response:
        clip, number = request.path_params["clip"], request.path_params["sheet"]
        return Response(session.sheet(clip, number), media_type="image/png", headers=KEPT)

    return local_app(
        "label.html",
        {"label.js": "text/javascript"},
        {"/api/state": lambda _: JSONResponse(session.state()), "/clips/{clip}/{sheet:int}.png": sheet},
        {"/api/label": session.label, "/api/undo": session.undo},
        host,
        blind=True,
    )


def label(config: LabelConfig) -> str:
    """Serve the page until Ctrl-C; gives what has been labelled, or with ``agreement`` at once how raters agree."""
    if config.agreement:
        return agreement(config)
    # Before anything is written for a page that nobody could open.
    listen(config.host, config.port).close()
    session = LabelSession(config)
    serve(label_app(session, config.host), config.host, config.port, "label here")
    return session.summary()


def agreement(config: LabelConfig) -> str:
    """How far the raters of a label file agree."""
    ratings = RaterFile(config.labels).ratings()
    if not ratings:
        raise FileNotFoundError(
            f"{config.labels} holds no labels; give some with real2sim label {config.folder}"
        )
    pairs = compare_raters(ratings)
    if not pairs:
        return f"{config.labels} has labels of {ratings[0].rater} alone; agreement not measured"
    return "\n".join(pair.line() for pair in pairs)
