"""Files are read with errors that help, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from real2sim import files
from real2sim.episodes.arrays import read_arrays, write_arrays
from real2sim.failures import one_line
from real2sim.files_together import write_together


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b'{"a": 1', "is not valid JSON"),
        (b'{"a": 1, "a": 2}', "the name 'a' occurs twice"),
        (b'{"a": NaN}', "NaN is not a number that JSON knows"),
        (b'{"a": 1e999}', "is not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        ('{"a": "é"}'.encode("latin-1"), "is not UTF-8 text (byte 7 is 0xe9)"),
        ('{"a": 1}'.encode("utf-16"), "it looks like UTF-16"),
    ],
)
def test_json_that_is_no_json_is_refused_with_its_name(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "values.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        files.read_json(path)
    assert str(refused.value).startswith(str(path))
    assert complaint in str(refused.value)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert files.read_json(tmp_path / "a.json") == [1]


def test_what_is_not_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="is a folder; expected a JSON file"):
        files.read_json(tmp_path)
    with pytest.raises(OSError, match="does not exist; expected a JSON file"):
        files.read_json(tmp_path / "none")
    with pytest.raises(OSError, match="is a file, not a folder"):
        files.read_json(tmp_path / "file" / "a.json")
    with pytest.raises(ValueError, match="holds a NUL character"):
        files.read_json(Path("a\0b"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_or_device_is_neither_waited_for_nor_replaced(tmp_path: Path) -> None:
    pipe, device = tmp_path / "rows-0.jsonl", tmp_path / "device"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path, kind in ((pipe, "a pipe"), (device, "a device")):
        with pytest.raises(ValueError, match=f"{path} is {kind}; expected a JSON file"):
            files.read_json(path)
        with pytest.raises(ValueError, match=f"{path} is {kind}"):
            read_arrays(path)
        for write in (files.write_text, files.append_text):
            with pytest.raises(ValueError, match=f"{path} cannot be written: it is {kind}"):
                write(path, "x")
    assert pipe.is_fifo() and device.is_symlink()


def test_what_this_user_may_not_read_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=f"{path} may not be read by this user; change"):
        files.read_bytes(path)
    refused = PermissionError(errno.EACCES, "Permission denied", str(path))
    assert one_line(refused).startswith(f"{path} may not be used by this user; change its permissions")


def test_a_write_that_fails_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyError), files.atomic_write(tmp_path / "a.txt") as file:
        file.write(b"new")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(ValueError, match="file is no folder, and one"),
        files.atomic_folder(tmp_path / "file"),
    ):
        pass
    assert (tmp_path / "file").read_text() == "x"
    (tmp_path / "file").unlink()
    with pytest.raises(KeyError), files.atomic_folder(tmp_path / "model") as fresh:
        (fresh / "b").write_text("x")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_whole(tmp_path: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    for name in ("a", "b"):
        with files.atomic_folder(tmp_path / "model") as fresh:
            (fresh / name).write_text(name)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["b"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """A limit on the size of files fails as a full disk does; safetensors wraps the system's error in its own."""
    code = (
        "import resource, signal, sys, torch; from pathlib import Path\n"
        "from real2sim.model_folder import write_folder\n"
        "from real2sim.files import DiskError, write_bytes, append_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "out = Path(sys.argv[1])\n"
        "for write in (lambda: write_bytes(out / 'a', bytes(9999)),\n"
        "              lambda: append_text(out / 'l', 'x' * 9999),\n"
        "              lambda: write_folder(out / 'm', 'k', {}, {'w': torch.zeros(9999)}, 'card')):\n"
        "    try: write()\n"
        "    except DiskError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(said) == 3
    assert all("the disk is full while" in line and str(tmp_path) in line for line in said)
    assert [path.name for path in tmp_path.iterdir()] == ["l"]
    assert not (tmp_path / "l").read_bytes()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = tmp_path / f".a.txt.{files._HOST}.{ended.pid}.00000000{files.SUFFIX}"
    living = tmp_path / f".b.txt.{files._HOST}.{os.getppid()}.00000000{files.SUFFIX}"
    elsewhere = tmp_path / f".c.txt.00000000.{ended.pid}.00000000{files.SUFFIX}"
    for path in (dead, living, elsewhere):
        path.write_text("x")
    files.write_text(tmp_path / "a.txt", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", living.name, elsewhere.name}


def test_every_changed_byte_of_an_archive_is_noticed(tmp_path: Path) -> None:
    path, array = tmp_path / "a.npz", np.arange(60, dtype=np.int64)
    write_arrays(path, {"x": array})
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        path.write_bytes(bytes(changed))
        try:
            found = read_arrays(path)
        except ValueError as error:
            assert str(error).startswith(str(path))
        else:
            # Dates and attributes in a zip's own headers do not change what is read.
            assert next(iter(found.values())).tolist() == array.tolist(), place


def test_a_size_that_lies_asks_for_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frames.npy", header.ljust(127) + b"\n" + bytes(10))
    with pytest.raises(ValueError, match=r"array 'frames' cannot be read .*claims 1000000000000 bytes"):
        read_arrays(path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"array 'x' cannot be read .*pickled objects"):
        read_arrays(tmp_path / "a.npz")


def test_files_that_belong_together_are_all_written_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "page.html", tmp_path / "new" / "figures" / "one.svg"
    old.write_text("old")
    real, written = os.fsync, []

    def full(handle: int) -> None:
        written.append(handle)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"the disk is full while {new} is written"):
        write_together({old: b"page", new: b"figure"})
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert old.read_text() == "old"
    write_together({old: b"page", new: b"figure"})
    assert (old.read_text(), new.read_text()) == ("page", "figure")
