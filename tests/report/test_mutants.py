"""The benchmark that counts unnoticed faults makes real ones, the same for the same seed."""

from __future__ import annotations

import ast

from benchmarks.mutants import MODULES, PACKAGE, matching_tests, mutant, sample


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
    assert all(matching_tests(module) for module in MODULES)
