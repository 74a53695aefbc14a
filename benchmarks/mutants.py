"""How many small faults in the report's statistics its tests notice: a mutation score on a random sample.

    python -m benchmarks.mutants --count 100 --out mutants

Every mutant is one module of ``real2sim/report/`` with one operator, comparison or number changed.  It is noticed when
one of the tests that call the changed function fails, or does not end in time.  Which tests these are is recorded once
(``mutants/record.json``); the quickest come first, and the first failure ends the trial.
Mutants live in memory, files stay; each is tried in a process of its own, forked after the heavy imports.  Outcomes
stand in ``mutants/outcomes.jsonl``, and the same command goes on where it was stopped.

Changes inside messages, exceptions and annotations are left out.  Some mutants behave as the original does (a bound
that is never met, a number of draws), so 100 % cannot be reached.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, TESTS = ROOT / "real2sim" / "report", ROOT / "tests" / "report"
MODULES = (
    "agreement", "answer", "betting", "correlation", "gaps", "horizon", "jackknife", "judge_error", "letters",
    "noise_ceiling", "paired_tests", "permutation", "planning", "prediction_powered", "racing", "rank_violation",
    "ranking", "rates", "scopes", "sequential", "several_runs", "smear", "spread", "true_rates", "validation",
    "validity", "verdict",
)  # fmt: skip
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "argmax": "argmin", "argmin": "argmax"}
PATIENCE = 120.0
"""Seconds after which tests that do not end have noticed the fault."""


@dataclass(frozen=True)
class Mutant:
    """One module with one change."""

    module: str
    line: int
    column: int
    functions: tuple[int, ...]
    """First lines of the functions around the change."""
    change: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.module}.py:{self.line}:{self.column} {self.change[:150]}"


def mutant(module: str, place: int) -> Mutant:
    """The module with the change at ``place`` among all places where it can be changed."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    node: Any = _targets(tree)[place]
    functions = tuple(
        min([around.lineno, *(decorator.lineno for decorator in around.decorator_list)])
        for around in ast.walk(tree)
        if isinstance(around, ast.FunctionDef) and any(node is inner for inner in ast.walk(around))
    )
    before = ast.unparse(node)
    _change(node)
    change = f"{before} -> {ast.unparse(node)}"
    return Mutant(
        module, node.lineno, node.col_offset, functions, change, ast.unparse(ast.fix_missing_locations(tree))
    )


def _targets(tree: ast.Module) -> list[ast.AST]:
    """Nodes that can be changed, in a fixed order."""
    found: list[ast.AST] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, (ast.JoinedStr, ast.Raise)):
            return
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        operator = isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS
        comparison = isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS
        sign = isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not))
        call = isinstance(node, ast.Attribute) and node.attr in CALLS
        call = call or (isinstance(node, ast.Name) and node.id in CALLS)
        if number or operator or comparison or sign or call:
            found.append(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child)

    visit(tree)
    return found


def _change(node: Any) -> None:
    if isinstance(node, ast.Constant):
        value: Any = node.value
        node.value = value + 1 if isinstance(value, int) else value * 1.2 + 0.01
    elif isinstance(node, (ast.BinOp, ast.BoolOp)):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare):
        node.ops = [SWAPS[type(node.ops[0])]()]
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        node.operand = node.operand if isinstance(node.op, ast.UAdd) else ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Attribute):
        node.attr = CALLS[node.attr]
    else:
        node.id = CALLS[node.id]


def sample(modules: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """``count`` mutants, drawn evenly from all of the modules' changes."""
    places = [
        (module, place)
        for module in modules
        for place in range(len(_targets(ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8")))))
    ]
    chosen = random.Random(seed).sample(places, min(count, len(places)))
    return [mutant(module, place) for module, place in chosen]


class Recorder:
    """A pytest plugin that notes which functions of the report every test calls, and how long it takes."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Item) -> Generator[None, Any, Any]:
        functions: dict[str, set[int]] = defaultdict(set)
        prefix = str(PACKAGE) + os.sep

        def entered(frame: FrameType, event: str, argument: object) -> None:
            code = frame.f_code
            if event == "call" and code.co_filename.startswith(prefix):
                functions[Path(code.co_filename).stem].add(code.co_firstlineno)

        begin = time.monotonic()
        sys.setprofile(entered)
        try:
            result = yield
        finally:
            sys.setprofile(None)
        # Only tests that pass without a mutant can notice one.
        seconds = time.monotonic() - begin
        found = {module: sorted(lines) for module, lines in functions.items()}
        self.tests[pyfuncitem.nodeid] = {"seconds": seconds, "functions": found}
        return result


def record(path: Path) -> dict[str, Any]:
    """Which functions the tests of the report call; read from ``path`` where it was recorded before.

    In a process of its own, so that this one imports nothing of the report.
    """
    if not path.exists():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                recorder = Recorder()
                own = f"--ignore={TESTS / 'test_mutants.py'}"
                pytest.main(["-q", "-p", "no:cacheprovider", own, str(TESTS)], plugins=[recorder])
                path.write_text(json.dumps(recorder.tests), encoding="utf-8")
                code = 0
            finally:
                os._exit(code)
        if os.waitpid(child, 0)[1] != 0:
            raise SystemExit("mutants: the tests could not be recorded")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def matching_tests(tests: dict[str, Any], module: str, functions: Iterable[int]) -> list[str]:
    """Tests that call one of the functions (by first line), quickest first.

    What no test calls by itself is run when the module is imported (a constant, a default): then all tests of the
    module match.
    """
    of_module = {name: test for name, test in tests.items() if module in test["functions"]}
    wanted = set(functions)
    calling = {name: test for name, test in of_module.items() if wanted & set(test["functions"][module])}
    return sorted(calling or of_module, key=lambda name: float(tests[name]["seconds"]))


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a mutant's source in place of its module's."""

    def __init__(self, mutant: Mutant) -> None:
        self.name, self.source = f"real2sim.report.{mutant.module}", mutant.source

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, self.name, "exec"), module.__dict__)


def noticed(mutant: Mutant, tests: Sequence[str]) -> bool:
    """Whether one of the tests fails, or they do not end."""
    if not tests:
        return False
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        sys.meta_path.insert(0, _Instead(mutant))
        code = 1
        try:
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
        finally:
            os._exit(code != 0)
    until = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the record and the outcomes")
    parser.add_argument("--count", type=int, default=100, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modules", nargs="+", choices=MODULES, default=MODULES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    # What every test imports, once for all of them; nothing of the report itself.
    for name in ("hypothesis", "jinja2", "matplotlib.figure", "pandas", "scipy.stats", "statsmodels.api"):
        importlib.import_module(name)
    os.chdir(ROOT)
    tests = record(arguments.out / "record.json")
    outcomes = arguments.out / "outcomes.jsonl"
    known: dict[str, bool] = {}
    if outcomes.exists():
        rows = [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]
        known = {row["mutant"]: row["noticed"] for row in rows}
    mutants = sample(arguments.modules, arguments.count, arguments.seed)
    for mutant in mutants:
        if mutant.name in known:
            continue
        known[mutant.name] = noticed(mutant, matching_tests(tests, mutant.module, mutant.functions))
        with outcomes.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"mutant": mutant.name, "noticed": known[mutant.name]}) + "\n")
        print(f"{'noticed ' if known[mutant.name] else 'SURVIVED'} {mutant.name}", flush=True)
    caught = sum(known[mutant.name] for mutant in mutants)
    print(f"{caught} of {len(mutants)} noticed")


if __name__ == "__main__":
    main()
