"""How a command ends: what its last line says, and what it waits for."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from real2sim.failures import failure, leave_behind, one_line


def test_a_long_path_is_named_whole_and_endless_text_is_cut() -> None:
    place = "/".join(["", *["folder"] * 30, "weights.safetensors"])
    assert one_line(PermissionError(errno.EACCES, "Permission denied", place)).startswith(
        f"{place} may not be"
    )
    said = one_line(OSError(errno.ENAMETOOLONG, "File name too long", "w" * 10_000))
    assert len(said) < 500 and "is too long for a file" in said


def test_threads_that_are_about_to_end_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[object] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    ending = threading.Thread(target=time.sleep, args=(0.2,))
    ending.start()
    leave_behind(0)
    assert not ending.is_alive()
    assert ended == [] and capsys.readouterr().err == ""


def test_a_link_that_leads_back_to_itself_is_named(tmp_path: Path) -> None:
    link = tmp_path / "policy"
    link.symlink_to(link)
    said, code = failure(RuntimeError(f"Symlink loop from {str(link)!r}"), ["check-policy"])
    assert (said, code) == (f"{link} is a link that leads back to itself; remove it or make it again", 2)
