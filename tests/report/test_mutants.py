"""The benchmark that counts unnoticed faults makes real ones, the same for the same seed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants import MODULES, PACKAGE, ROOT, direct_tests, matching_files, mutant, sample


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


def test_every_module_of_the_sample_is_imported_by_a_test() -> None:
    assert all(matching_files(module) for module in MODULES)
    assert all(mutant(module, 0).module == module for module in MODULES)


def test_the_tests_of_a_module_are_those_that_use_what_they_import_from_it() -> None:
    source = """
from real2sim.report.letters import compact_letters as letters
from real2sim.report.rates import wilson

def helper(): return letters(1)
def test_itself(): assert letters(2)
def test_through_a_helper(): assert helper()
def test_of_something_else(): assert wilson(1, 2)
"""
    assert direct_tests("letters", source) == ["test_itself", "test_through_a_helper"]
    assert direct_tests("rates", source) == ["test_of_something_else"]
    assert direct_tests("gaps", source) == []


@pytest.mark.slow
def test_faults_are_tried_and_the_same_command_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    out = tmp_path / "mutants.jsonl"
    command = [sys.executable, "-m", "benchmarks.mutants", "--out", str(out)]
    command += ["--count", "1", "--modules", "letters"]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(first) == 2 and kept[0]["mutant"] in first[0] and len(kept) == 1
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert again == first[-1:]
