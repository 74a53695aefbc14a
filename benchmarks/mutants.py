"""How many small faults in the report's statistics its tests notice: a mutation score on a random sample.

    python -m benchmarks.mutants --count 100 --out mutants.jsonl

Every mutant is one module of ``real2sim/report/`` with one operator, comparison or number changed.  It is noticed when
one of the tests fails: first those tests are tried that use what they import from the module, then the whole files that
they are in; the first failure ends the trial.  Tests that use up their processor time without an end have noticed it,
too, and are counted apart; how busy the machine is makes no difference.  Mutants live in memory, files stay; each is
tried in a process of its own, forked after the heavy imports.  Outcomes are kept in a file, and the same command goes
on where it was stopped.

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
import re
import resource
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, TESTS = ROOT / "real2sim" / "report", ROOT / "tests" / "report"
MODULES = (
    "agreement", "answer", "betting", "correlation", "gaps", "horizon", "jackknife", "judge_error", "letters",
    "noise_ceiling", "paired_tests", "permutation", "planning", "prediction_powered", "racing", "rank_violation",
    "ranking", "rates", "scopes", "sequential", "several_runs", "smear", "spread", "true_rates", "validity",
    "verdict",
)  # fmt: skip
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "argmax": "argmin", "argmin": "argmax"}
PATIENCE = 300
"""Seconds of processor time after which tests that do not end have noticed the fault."""
NOTICED, ENDLESS, SURVIVED = "noticed", "endless", "SURVIVED"


@dataclass(frozen=True)
class Mutant:
    """One module with one change."""

    module: str
    line: int
    column: int
    change: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.module}.py:{self.line}:{self.column} {self.change[:150]}"


def mutant(module: str, place: int) -> Mutant:
    """The module with the change at ``place`` among all places where it can be changed."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    node: Any = _targets(tree)[place]
    before = ast.unparse(node)
    _change(node)
    change = f"{before} -> {ast.unparse(node)}"
    return Mutant(module, node.lineno, node.col_offset, change, ast.unparse(ast.fix_missing_locations(tree)))


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


def matching_files(module: str) -> list[Path]:
    """The test files that import a module of the report."""
    pattern = re.compile(rf"real2sim\.report(\.| import .*\b){module}\b")
    return [
        path for path in sorted(TESTS.glob("test_*.py")) if pattern.search(path.read_text(encoding="utf-8"))
    ]


def direct_tests(module: str, source: str) -> list[str]:
    """Names of a file's tests that use what the file imports from the module, themselves or through its helpers."""
    tree = ast.parse(source)
    known = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == f"real2sim.report.{module}":
            known |= {alias.asname or alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module == "real2sim.report":
            known |= {alias.asname or alias.name for alias in node.names if alias.name == module}
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    while True:
        using = {
            name
            for name, function in functions.items()
            if any(isinstance(node, ast.Name) and node.id in known for node in ast.walk(function))
        }
        if using <= known:
            return [name for name in functions if name in using and name.startswith("test_")]
        known |= using


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a mutant's source in place of its module's."""

    def __init__(self, mutant: Mutant) -> None:
        self.name, self.source = f"real2sim.report.{mutant.module}", mutant.source

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, self.name, "exec"), module.__dict__)


def outcome(mutant: Mutant) -> str:
    """Whether the tests that use the module notice the fault, or else the files that they are in."""
    files = matching_files(mutant.module)
    direct = [
        f"{path}::{name}"
        for path in files
        for name in direct_tests(mutant.module, path.read_text(encoding="utf-8"))
    ]
    for tests in (direct, [str(path) for path in files]):
        found = _try(mutant, tests) if tests else SURVIVED
        if found != SURVIVED:
            return found
    return SURVIVED


def _try(mutant: Mutant, tests: Sequence[str]) -> str:
    """What becomes of the tests with the mutant in its module's place."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE + 5))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        sys.meta_path.insert(0, _Instead(mutant))
        import pytest

        code = 1
        try:
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
        finally:
            # 5: nothing but slow tests was chosen.
            os._exit(code not in (0, 5))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return ENDLESS
    return SURVIVED if status == 0 else NOTICED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="file of the outcomes (JSON lines)")
    parser.add_argument("--count", type=int, default=100, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modules", nargs="+", choices=MODULES, default=MODULES)
    arguments = parser.parse_args()
    # What every test imports, once for all of them; nothing of the report itself.
    for name in (
        "hypothesis",
        "jinja2",
        "matplotlib.figure",
        "pandas",
        "pytest",
        "scipy.stats",
        "statsmodels.api",
    ):
        importlib.import_module(name)
    outcomes = arguments.out.resolve()
    os.chdir(ROOT)
    known: dict[str, str] = {}
    if outcomes.exists():
        rows = [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]
        known = {row["mutant"]: row["outcome"] for row in rows}
    mutants = sample(arguments.modules, arguments.count, arguments.seed)
    for mutant in mutants:
        if mutant.name in known:
            continue
        known[mutant.name] = outcome(mutant)
        with outcomes.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"mutant": mutant.name, "outcome": known[mutant.name]}) + "\n")
        print(f"{known[mutant.name]:8} {mutant.name}", flush=True)
    found = Counter(known[mutant.name] for mutant in mutants)
    print(f"{found[NOTICED] + found[ENDLESS]} of {len(mutants)} noticed, {found[ENDLESS]} of them by no end")


if __name__ == "__main__":
    main()
