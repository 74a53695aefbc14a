"""Reading and writing files: whole or not at all, with errors that say which file, what was found and what to do."""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from real2sim.special_files import refuse_special, special_kind

SUFFIX = ".part"
"""End of the names of files that are being written; they begin with a dot."""
LARGEST_JSON = 64 << 20
"""Bytes of a JSON file; no file of this project comes near."""
_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_swept: set[Path] = set()


class DiskError(OSError):
    """A file that cannot be written: the disk is full or read-only, or the place is taken."""


@contextmanager
def reading(path: Path, expected: str = "a file") -> Iterator[None]:
    """What the system says while ``path`` is read, as one sentence that names it.

    Pipes, sockets and devices are refused: whoever opened one could wait for ever.
    """
    try:
        refuse_special(path, expected)
        # Libraries call what may not be read missing.
        if os.path.exists(path) and not os.access(path, os.R_OK):
            raise PermissionError
        yield
    except FileNotFoundError as error:
        found = "is a link that leads to nothing" if os.path.islink(path) else "does not exist"
        raise FileNotFoundError(f"{path} {found}; expected {expected} there") from error
    except IsADirectoryError as error:
        raise IsADirectoryError(f"{path} is a folder; expected {expected}") from error
    except NotADirectoryError as error:
        raise NotADirectoryError(f"a part of {path} is a file, not a folder; expected {expected}") from error
    except PermissionError as error:
        raise PermissionError(
            f"{path} may not be read by this user; change its permissions (chmod u+r)"
        ) from error
    except OSError as error:
        raise OSError(f"{path} cannot be read ({error.strerror or error}); copy or make it again") from error
    except ValueError as error:
        if "embedded null" not in str(error):
            raise
        raise ValueError(f"the path {str(path)!r} holds a NUL character; expected {expected}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong while ``path`` is written, as one sentence that names it and says what to do."""
    try:
        yield
    except DiskError:
        raise
    except Exception as error:
        number = _system_error(error)
        # What was read meanwhile has said for itself what is wrong; only a full disk hides behind other errors.
        told = isinstance(error, ValueError) or (isinstance(error, OSError) and error.errno is None)
        if number is None or (told and number not in _FULL):
            if isinstance(error, ValueError) and "null byte" in str(error):
                raise ValueError(
                    f"the path {str(path)!r} holds a NUL character; choose another name"
                ) from error
            raise
        raise DiskError(number, _writing_sentence(path, number)) from error


def _system_error(error: BaseException | None) -> int | None:
    """The number of the system's error behind an exception, also where a library has wrapped it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found:
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None


def _writing_sentence(path: Path, number: int) -> str:
    if number in _FULL:
        return f"the disk is full while {path} is written; make room and run the same command again"
    if number == errno.EROFS:
        return f"{path} cannot be written: the disk is read-only; choose another folder"
    if number in _FORBIDDEN:
        return f"{path} cannot be written: this user may not write there; choose another folder"
    if number in (errno.ENOTDIR, errno.EEXIST):
        return f"{path} cannot be written: a file has the name of one of its folders; choose another folder"
    if number in (errno.EISDIR, errno.ENOTEMPTY):
        return f"{path} cannot be written: a folder has that name; choose another name, or move the folder"
    if number == errno.ENAMETOOLONG:
        return f"{path} cannot be written: the name is too long; choose a shorter one"
    return f"{path} cannot be written ({os.strerror(number)}); choose another folder"


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` when the block ends; after an error nothing has changed.

    The content and the name are on disk when this returns.
    """
    path = Path(path)
    with writing(path):
        _check_place(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``folder`` when the block ends; after an error nothing has changed."""
    if os.path.lexists(folder := Path(folder)) and not folder.is_dir():
        raise ValueError(f"{folder} is no folder, and one is written there; move it or choose another place")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = _temporary(folder)
        try:
            fresh.mkdir()
            yield fresh
            for path in fresh.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            _sync_folder(fresh)
            if not folder.exists():
                os.replace(fresh, folder)
            elif not _exchange(fresh, folder):
                old = _temporary(folder)
                os.replace(folder, old)
                os.replace(fresh, folder)
                shutil.rmtree(old, ignore_errors=True)
            _sync_folder(folder.parent)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _check_place(path: Path) -> None:
    """Raise a ValueError where a pipe or device has the name, whose place nothing may take."""
    if kind := special_kind(path):
        raise ValueError(f"{path} cannot be written: it is {kind}; choose the name of a file")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at once: a reader sees the old content or the new, never a part."""
    with atomic_write(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Replace the file at once with UTF-8 text."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, values: Any) -> None:
    """Replace the file at once with indented JSON; NaN and infinity are refused."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def append_text(path: Path, text: str) -> None:
    """Add text to the end of a file; where the disk fills up, nothing of it stays."""
    _check_place(path)
    with writing(path), Path(path).open("ab", buffering=0) as file:
        content, position = text.encode("utf-8"), file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[os.write(file.fileno(), content) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), position)
            raise


def read_bytes(path: Path, expected: str = "a file") -> bytes:
    """Content of a file."""
    with reading(path, expected):
        return Path(path).read_bytes()


def read_text(path: Path, expected: str = "a text file") -> str:
    """UTF-8 text of a file, without a byte-order mark; other encodings are named in the error."""
    return decode(read_bytes(path, expected), str(path))


def decode(content: bytes, where: str) -> str:
    """UTF-8 text without its byte-order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        kind = "it looks like UTF-16" if utf16 else f"byte {error.start} is 0x{content[error.start]:02x}"
        raise ValueError(f"{where} is not UTF-8 text ({kind}); save it as UTF-8 and try again") from error


def read_json(path: Path, expected: str = "a JSON file") -> Any:
    """Content of a JSON file; missing, broken and ambiguous ones are named in the error."""
    content = read_bytes(path, expected)
    if len(content) > LARGEST_JSON:
        raise ValueError(
            f"{path} has {len(content)} bytes, at most {LARGEST_JSON} are read as JSON; is this the right file?"
        )
    return parse_json(decode(content, str(path)), str(path))


def parse_json(text: str, where: str, finite: bool = True) -> Any:
    """The value of a JSON text; names that occur twice are refused, NaN and numbers beyond float64 where ``finite``."""
    if not text.strip():
        raise ValueError(f"{where} is empty; expected JSON, make or copy it again")
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_not_finite if finite else float,
            parse_float=_finite_float if finite else float,
        )
    except RecursionError:
        raise ValueError(f"{where} is not valid JSON: its values are nested too deeply") from None
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):
            error = ValueError("one of its numbers has more digits than can be read")
        raise ValueError(f"{where} is not valid JSON ({error}); was the file cut off or edited?") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return found


def _not_finite(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON knows")


def _finite_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text)


def _temporary(path: Path) -> Path:
    _remove_stale(path.parent)
    return path.with_name(f".{path.name[:80]}.{_HOST}.{os.getpid()}.{secrets.token_hex(4)}{SUFFIX}")


def _remove_stale(folder: Path) -> None:
    """Remove what processes of this machine left behind when they were killed; each folder is looked at once."""
    if folder in _swept:
        return
    _swept.add(folder)
    for path in folder.glob(f".*.{_HOST}.*{SUFFIX}"):
        owner = path.name.split(".")[-3]
        if owner.isdigit() and not _alive(int(owner)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # It lives and belongs to another user.
    return True


def _sync_folder(folder: Path) -> None:
    # Not every system lets a folder be opened; the name is then written when the system sees fit.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step, where the system can (Linux: renameat2 with RENAME_EXCHANGE)."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    # AT_FDCWD is -100, RENAME_EXCHANGE 2.
    return bool(rename(-100, os.fsencode(first), -100, os.fsencode(second), 2) == 0)
