"""Pages are served by processes that start, refuse and end as a command should."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from real2sim.cli import main
from real2sim.pages.label_session import LabelConfig, LabelSession
from real2sim.pages.server import addresses, listen


@contextmanager
def served(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that serves a page on a free port, and the page's address."""
    command = [sys.executable, "-m", "real2sim", *words, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "http://" in said, process.stderr and process.stderr.read()
        yield process, said.split(": ", 1)[1].split(" ")[0]
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_ends_the_labelling_with_the_count(tiny_run: Path) -> None:
    session = LabelSession(LabelConfig(tiny_run, rater="ann"))
    clip = session.state()["clip"]["id"]
    session.label({"clip": clip, "label": "success"})
    with served("label", str(tiny_run), "--rater", "ann") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=20) as page:
            assert "Label episodes" in page.read().decode()
        # A connection that stays open does not hold the end up.
        idle = socket.create_connection(("127.0.0.1", int(address.split(":")[2].strip("/"))))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        idle.close()
    assert process.returncode == 0
    assert out.strip() == (
        f"1 labels of ann in {tiny_run / 'labels.csv'} (1 success, 0 failure, 0 unclear); 3 to go"
    )
    assert err == ""


@pytest.mark.slow
def test_a_name_that_was_made_to_point_here_is_refused_by_the_real_server(tiny_run: Path) -> None:
    with served("view", str(tiny_run)) as (process, address):
        request = urllib.request.Request(address, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code == 403
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_busy_port_is_one_sentence(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        for command in ("label", "view"):
            with pytest.raises(SystemExit) as ended:
                main([command, str(tiny_run), "--port", str(port)])
            assert ended.value.code == 2
            said = capsys.readouterr()
            assert said.err == (
                f"error: port {port} of 127.0.0.1 is in use by another program; choose another with --port, "
                "or --port 0 for any\n"
            )
            assert said.out == ""


def test_other_machines_are_let_in_only_when_told_and_with_a_warning() -> None:
    assert len(addresses("127.0.0.1", 8765, "label here")) == 1
    line, warning = addresses("0.0.0.0", 8765, "label here")
    assert socket.gethostname() in line
    assert warning.startswith("warning: everybody who can reach this machine")
    assert addresses("::1", 8765, "label here")[0].startswith("label here: http://[::1]:8765/")
