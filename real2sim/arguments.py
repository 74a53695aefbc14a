"""From the words of a command line to the configuration that a command reads."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TypeVar

from real2sim.checks import check_options
from real2sim.wording import parsing_complaint

Config = TypeVar("Config")


def parse(config: type[Config], name: str, arguments: Sequence[str]) -> Config:
    """The configuration; what cannot be understood is a ValueError of one sentence."""
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            found = tyro.cli(config, prog=f"real2sim {name}", args=list(arguments))
    except SystemExit as ended:
        if not ended.code:
            raise
        raise ValueError(f"{parsing_complaint(complaint.getvalue())}; see real2sim {name} --help") from None
    try:
        check_options(found)
    except ValueError as error:
        raise ValueError(f"{error}; see real2sim {name} --help") from None
    return found
