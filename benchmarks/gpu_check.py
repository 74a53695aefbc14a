"""Whether everything is right on a GPU, and how fast: one script for a machine that is lent for minutes.

    python -m benchmarks.gpu_check --out OUT                 # all parts, one process each, at most --limit seconds each
    python -m benchmarks.gpu_check --out OUT --parts speed
    python -m benchmarks.gpu_check --out OUT --device cpu --quick   # to try the script

Each part prints a table and writes OUT/PART.json; a part that fails prints its traceback, and the others go on.  The
last lines are one line per part.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu_check_parts import PARTS
from benchmarks.gpu_options import Options

TOGETHER = ("trainings", "tests")
"""Parts that measure no speed that matters and run at the same time, last."""


def run_part(name: str, options: Options) -> int:
    """One part in this process: its result is written and summed up in one line."""
    began = time.monotonic()
    try:
        result: dict[str, Any] = PARTS[name](options)
        failed = result.pop("failed", None)
    except Exception:
        failed, result = traceback.format_exc(), {}
        print(failed, flush=True)
    result |= {"seconds": round(time.monotonic() - began, 1), "failed": failed}
    (options.out / f"{name}.json").write_text(json.dumps(result, indent=1, default=str))
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="least sizes, to try the script")
    parser.add_argument("--limit", type=float, default=60, help="seconds for each part")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    options = Options(chosen.out, chosen.device, chosen.quick)
    if chosen.alone:
        return run_part(chosen.parts[0], options)

    def start(name: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "benchmarks.gpu_check", "--alone", "--out", str(chosen.out)]
        words += ["--device", chosen.device, "--parts", name, *(["--quick"] if chosen.quick else [])]
        print(f"== {name}", flush=True)
        # Progress bars and warnings would hide the tables; they are shown where a part fails.
        with open(chosen.out / f"{name}.stderr", "wb") as stream:
            return subprocess.Popen(words, stderr=stream, env={"OMP_NUM_THREADS": "4", **os.environ})

    def finish(name: str, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(chosen.limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            late = f"stopped after {chosen.limit:g} seconds"
            (chosen.out / f"{name}.json").write_text(json.dumps({"failed": late, "seconds": chosen.limit}))

        said = chosen.out / f"{name}.stderr"
        if process.returncode:
            print(said.read_text(errors="replace").replace("\r", "\n")[-2000:], flush=True)
        said.unlink()

    for name in chosen.parts:
        if name not in TOGETHER:
            finish(name, start(name))
    running = [(name, start(name)) for name in chosen.parts if name in TOGETHER]
    for name, process in running:
        finish(name, process)
    return summed_up(chosen.out, chosen.parts, print)


def summed_up(out: Path, parts: list[str], show: Callable[[str], None]) -> int:
    """One line per part; 1 if any failed."""
    show("== summary")
    failures = 0
    for name in parts:
        path = out / f"{name}.json"
        found = json.loads(path.read_text()) if path.exists() else {"failed": "it wrote nothing"}
        failures += bool(found.get("failed"))
        last = (str(found["failed"]).strip().splitlines() or ["?"])[-1] if found.get("failed") else "ok"
        show(f"{name:10} {found.get('seconds', 0):6} s  {last}  {found.get('line', '')}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
