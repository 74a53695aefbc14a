from __future__ import annotations

import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from isal import isal_zlib

from real2sim.episodes.conversion import episode_file, missing_episodes


def test_arrays_and_frames_come_back_as_they_were_written_and_any_zip_reader_finds_them_whole(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    frames = np.empty((5, 48, 64, 3), np.uint8)
    frames[:] = np.arange(64, dtype=np.uint8)[:, None]
    frames[:, :12] = rng.integers(0, 256, (5, 12, 64, 3))
    action = rng.normal(size=(5, 6)).astype(np.float32)
    path = tmp_path / "000000.npz"
    with episode_file(path) as file:
        file.array("action", action)
        file.frames("image", frames.shape, iter(frames))
        file.array("instruction", np.array("push the block"))
    with np.load(path) as episode:
        np.testing.assert_array_equal(episode["action"], action)
        np.testing.assert_array_equal(episode["image"], frames)
        assert episode["instruction"] == "push the block"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        image = archive.getinfo("image.npy")
    assert image.compress_type == zipfile.ZIP_DEFLATED
    assert image.compress_size < 1.15 * len(zlib.compress(frames.tobytes(), 1)) < 0.6 * frames.nbytes


def test_frames_are_compressed_by_the_fast_deflate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's zipfile has no public way to it: a Python that ignores the attribute would be slow, and silently so."""
    given: list[int] = []
    real = isal_zlib.compressobj

    class Counting:
        def __init__(self, *settings: int) -> None:
            self.real = real(*settings)

        def compress(self, data: bytes) -> bytes:
            given.append(len(data))
            return bytes(self.real.compress(data))

        def flush(self) -> bytes:
            return bytes(self.real.flush())

    monkeypatch.setattr(isal_zlib, "compressobj", Counting)
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    with episode_file(tmp_path / "000000.npz") as file:
        file.frames("image", frames.shape, iter(frames))
    assert given[-3:] == [8 * 8 * 3] * 3


def test_a_script_without_a_main_guard_converts_with_several_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\n"
        "from real2sim.episodes.parallel import write_in_processes\n"
        "print(sorted(write_in_processes(int, 3, operator.mul, [(1,), (2,)], 2)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[3, 6]\n", done.stderr


def test_what_was_cut_off_is_converted_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        with episode_file(tmp_path / f"{number:06d}.npz") as file:
            file.array("action", np.zeros((2, 3)))
            file.array("image", np.zeros((2, 4, 4, 3), np.uint8))
    (tmp_path / "000000.npz").write_bytes(b"")
    (tmp_path / "000002.npz").write_bytes((tmp_path / "000002.npz").read_bytes()[:100])
    assert missing_episodes(tmp_path, range(4)) == [0, 2, 3]
    assert "000002.npz is no whole npz file; the episode is converted again" in caplog.text
