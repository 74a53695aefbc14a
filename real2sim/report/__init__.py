"""Statistics and the page that say how far simulated success agrees with real success."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from real2sim.report.report import Report


class _CallablePackage(types.ModuleType):
    """Makes ``real2sim.report(...)`` the function `real2sim.report.report.report`.

    Importing any module of this package puts the package itself at ``real2sim.report``, so a function of that
    name beside it would work or not depending on what was imported before.
    """

    def __call__(self, *tables: Any, **options: Any) -> Report:
        from real2sim.report.report import report

        return report(*tables, **options)


sys.modules[__name__].__class__ = _CallablePackage
