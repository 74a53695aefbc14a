"""What a command says when it fails: one sentence for a mistake, and where the details lie for a bug."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from real2sim.wording import without_password

EXIT_ERROR, EXIT_BUG, EXIT_STOPPED = 2, 70, 130
"""70 is EX_SOFTWARE of BSD's sysexits.h: an internal error."""
PATIENCE = 1.0
"""Seconds for threads that end by themselves when a command is over."""
LONGEST_PLACE = 400
"""Letters of a path beyond which it is cut; a command line may hold any text where a path is expected."""
_NAMES = {
    errno.ENAMETOOLONG: "has a name that is too long for a file; choose a shorter one",
    errno.EACCES: "may not be used by this user; change its permissions or those of its folder (chmod u+rwX)",
    errno.ELOOP: "is a link that leads back to itself; remove it or make it again",
}
LOOP = "Symlink loop from "
_MEMORY = ("can't allocate memory", "DefaultCPUAllocator", "CUDA out of memory", "Unable to allocate")


def failure(error: Exception, command: Sequence[str]) -> tuple[str, int]:
    """The sentence for stderr, and the exit code; the traceback of a bug is written into a log file."""
    if (lost := lost_output(error)) is not None:
        return lost, EXIT_ERROR
    if out_of_memory(error):
        return (
            f"not enough memory ({_first_line(error)}); use fewer --lanes or --processes, a smaller batch or a "
            "smaller model"
        ), EXIT_ERROR
    if isinstance(error, ValueError | OSError | ImportError):
        return one_line(error), EXIT_ERROR
    if isinstance(error, RuntimeError) and str(error).startswith(LOOP):
        # So pathlib says it before Python 3.13.
        return f"{str(error).removeprefix(LOOP).strip(chr(39))} {_NAMES[errno.ELOOP]}", EXIT_ERROR
    log = _write_log(error, command)
    place = f"the details are in {log}" if log is not None else "no log could be written"
    return (
        f"this is a bug in real2sim ({type(error).__name__}: {_first_line(error)}); {place}, please report them; "
        "--traceback shows them here"
    ), EXIT_BUG


@contextlib.contextmanager
def output_written() -> Iterator[None]:
    """Write what the block has printed, while it can be said that a disk is full; also when it ends Python."""
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


LOST = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE)
"""Reasons for which what was printed cannot be written."""


def lost_output(error: BaseException) -> str | None:
    """The sentence where ``error`` says that what was printed cannot be written, on a full disk perhaps; it is given
    up.  None where it can be."""
    if sys.stdout is None or not isinstance(error, OSError):
        return None
    if error.filename is not None or error.errno not in LOST:
        return None
    try:
        # Nothing is kept back where output is unbuffered, so a line is tried.
        print(flush=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        # Python would try again at its end, in vain.
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return (
            f"standard output cannot be written ({reason}), so what the command prints is lost; let it go where there "
            "is room and run the command again"
        )
    except ValueError:
        # A caller has closed it.
        return None
    return None


def reader_gone(error: BrokenPipeError) -> int:
    """The exit code where the reader of our output (head, less) has gone; nothing more is said."""
    lost_output(error)
    sys.stderr.close()
    return EXIT_ERROR


def whole(error: BaseException) -> str:
    """The traceback of an exception, without passwords."""
    return without_password("".join(traceback.format_exception(error)))


def end_progress_bars() -> None:
    """Leave the lines of progress bars that an error has stopped, so that what is said next has its own."""
    tqdm = sys.modules.get("tqdm")
    for bar in list(tqdm.tqdm._instances) if tqdm is not None else []:
        bar.close()


def one_line(error: BaseException) -> str:
    """What an exception says, in one line, without the number of a system error and without passwords."""
    if isinstance(error, OSError) and error.errno in _NAMES and isinstance(error.filename, str):
        place = error.filename
        shown = place if len(place) <= LONGEST_PLACE else f"{place[: LONGEST_PLACE - 3]}..."
        return f"{shown} {_NAMES[error.errno]}"
    number = f"[Errno {error.errno}] " if isinstance(error, OSError) else ""
    said = " ".join(str(error).removeprefix(number).split()) or type(error).__name__
    return printable(without_password(said))


def _other_threads() -> list[threading.Thread]:
    """Threads for which Python would wait; it ends idle threads of executors itself."""
    main = threading.main_thread()
    return [t for t in threading.enumerate() if t is not main and not t.daemon and "Executor" not in t.name]


def leave_behind(code: object) -> None:
    """End this process although threads or processes that others started run on, for which Python would wait without a
    word; such processes are ended. Threads that are about to end, as those of a server that was stopped, have a second
    to do so."""
    threads = _other_threads()
    last = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, last - time.monotonic()))
    threads = [thread for thread in threads if thread.is_alive()]
    starter: Any = sys.modules.get("multiprocessing")
    children = [] if starter is None else [child for child in starter.active_children() if not child.daemon]
    for child in children:
        child.terminate()
    left = [*(["threads"] if threads else []), *(["processes"] if children else [])]
    if not left:
        return
    words = (
        f"{' and '.join(left)} that a policy or library started still run; the command ends without waiting"
    )
    with contextlib.suppress(OSError, ValueError):
        print(words, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def printable(text: str) -> str:
    """Text in which what commands a terminal (colours, the cursor, the direction of writing) is shown by its number."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["without a word"]
    return printable(without_password(lines[0]))[:400]


def out_of_memory(error: BaseException) -> bool:
    """Whether the processor's or the accelerator's memory did not suffice."""
    named = type(error).__name__ in ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError")
    return named or (isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY))


def _write_log(error: BaseException, command: Sequence[str]) -> Path | None:
    import real2sim

    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = Path(tempfile.gettempdir()) / f"real2sim-{stamp}-{os.getpid()}.log"
    head = (
        f"real2sim {real2sim.__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: {list(command)!r}\nin: {Path.cwd()}\n\n"
    )
    try:
        path.write_text(without_password(head) + whole(error), encoding="utf-8", errors="replace")
    except OSError:
        print(whole(error), file=sys.stderr)
        return None
    return path
