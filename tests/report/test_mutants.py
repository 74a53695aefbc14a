"""The benchmark that counts unnoticed faults makes real ones, the same for the same seed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.mutants import MODULES, PACKAGE, ROOT, matching_tests, mutant, sample


def test_a_mutant_is_the_module_with_one_change() -> None:
    original = ast.unparse(ast.parse((PACKAGE / "correlation.py").read_text(encoding="utf-8")))
    for place in range(5):
        changed = mutant("correlation", place)
        compile(changed.source, changed.module, "exec")
        lines = zip(original.splitlines(), changed.source.splitlines(), strict=True)
        assert sum(before != after for before, after in lines) == 1


def test_a_seed_always_draws_the_same_mutants() -> None:
    modules = ("letters", "permutation")
    assert sample(modules, 4, seed=1) == sample(modules, 4, seed=1)
    assert sample(modules, 4, seed=1) != sample(modules, 4, seed=2)


def test_every_module_of_the_sample_can_be_changed() -> None:
    assert all(mutant(module, 0).module == module for module in MODULES)


def test_the_quickest_tests_of_the_changed_function_come_first() -> None:
    tests = {
        "slow": {"seconds": 2.0, "functions": {"letters": [7, 8]}},
        "quick": {"seconds": 0.1, "functions": {"letters": [8]}},
        "beside": {"seconds": 0.1, "functions": {"letters": [3]}},
        "elsewhere": {"seconds": 0.1, "functions": {"rates": [8]}},
    }
    assert matching_tests(tests, "letters", [8, 9]) == ["quick", "slow"]
    assert matching_tests(tests, "letters", [1]) == ["quick", "beside", "slow"]
    assert matching_tests(tests, "gaps", [8]) == []


def test_faults_are_found_by_the_recorded_tests_and_outcomes_are_kept(tmp_path: Path) -> None:
    test = "tests/report/test_agreement_measures.py::test_swapping_the_arguments_of_mmrv_gives_another_number"
    functions = {"rank_violation": list(range(1, 200))}
    (tmp_path / "record.json").write_text(json.dumps({test: {"seconds": 0.1, "functions": functions}}))
    command = [sys.executable, "-m", "benchmarks.mutants", "--out", str(tmp_path)]
    command += ["--count", "2", "--seed", "1", "--modules", "rank_violation"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    kept = [json.loads(line) for line in (tmp_path / "outcomes.jsonl").read_text().splitlines()]
    assert len(first) == 3 and [row["mutant"] in line for row, line in zip(kept, first[:2], strict=True)]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert again == first[-1:]
