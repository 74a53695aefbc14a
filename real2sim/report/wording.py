"""Numbers as the page writes them: with count and interval, and words where a number does not exist."""

from __future__ import annotations

import math

NOT_MEASURED = "not measured"


def missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none; never -0.00, and 1.00 only for 1."""
    if value is None or math.isnan(value):
        return "–"
    if 0 < 1 - abs(value) < 1e-9:
        value = math.copysign(1.0, value)
    text = f"{value:.{digits}f}"
    if digits >= 2 and 0.9 < abs(value) < 1 and float(text) in (1.0, -1.0):
        text = f"{math.copysign(math.floor(abs(value) * 10**4) / 10**4, value):.4f}"
        text = text.rstrip("0") if not text.endswith("9999") else text
    return text.replace("-", "−") if float(text) != 0 else text.replace("-", "")


def interval(low: float, high: float, digits: int = 2) -> str:
    """“0.91 to 0.99”, or an empty string without an interval."""
    if missing(low) or missing(high):
        return ""
    return f"{number(low, digits)} to {number(high, digits)}"


def percent(rate: float) -> str:
    """A rate in whole per cent; 0 % and 100 % only for exactly 0 and 1."""
    if missing(rate):
        return NOT_MEASURED
    if 0 < rate < 0.005:
        return "<1 %"
    if 0.995 <= rate < 1:
        return ">99 %"
    return f"{100 * rate:.0f} %"


def chance(p: float) -> str:
    """A probability estimated by drawing, in per cent; never flatly 0 % or 100 %."""
    if missing(p):
        return "–"
    return "<1 %" if p < 0.005 else ">99 %" if p >= 0.995 else percent(p)


def percent_interval(low: float, high: float) -> str:
    """“71 to 90 %”, or an empty string without an interval."""
    return "" if missing(low) or missing(high) else f"{100 * low:.0f} to {100 * high:.0f} %"


def count(successes: float, episodes: float) -> str:
    """“38 of 50”, or “count not stated”."""
    if missing(successes) or missing(episodes):
        return "count not stated"
    return f"{successes:.0f} of {episodes:.0f}"


def points(value: float) -> str:
    """A signed difference in percentage points."""
    return "–" if missing(value) else number(value, 1) if value < 0 else f"+{number(value, 1)}"


def probability(p: float) -> str:
    """A p-value or probability: two significant digits, never 0."""
    if missing(p):
        return "–"
    if p < 1e-4:
        return "<0.0001"
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def plural(n: int, noun: str) -> str:
    """“1 policy”, “3 policies”."""
    if n == 1:
        return f"1 {noun}"
    return f"{n} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def listing(names: list[str], most: int = 5) -> str:
    """“a, b and c”; beyond ``most`` names, the rest as a number."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def task_name(task: str) -> str:
    """A task's name as a reader would write it."""
    return str(task).replace("_", " ")


def set_name(name: str) -> str:
    """A set's name as a reader would write it; what stands behind “ in ” is a world or a run and stays as it is."""
    kind, inside, place = str(name).partition(" in ")
    return task_name(kind) + inside + place


def episodes_needed(value: float | None) -> str:
    """A number of episodes, rounded to what it can be known to."""
    if value is None or math.isnan(value):
        return "no number can be named"
    if value == 0:
        return "none"
    digits = max(len(str(int(value))) - 2, 0)
    return f"about {round(int(value), -digits):,}".replace(",", " ")


def p_value(p: float) -> str:
    """“p = 0.03” or “p < 0.0001”."""
    text = probability(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"
