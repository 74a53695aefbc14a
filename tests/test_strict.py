"""Configurations and rows are read strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from real2sim.model_folder import config_from_dict, config_to_dict


@dataclass(frozen=True)
class Inner:
    sides: tuple[int, ...]
    rate: float = 1.0

    def __post_init__(self) -> None:
        if 7 in self.sides:
            raise ValueError("seven is unlucky")


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    pair: tuple[int, int] = (1, 2)
    kind: Literal["a", "b"] = "a"
    limit: float | None = None
    lanes: int | Literal["auto"] = 1
    more: tuple[Inner, ...] = ()
    folder: Path = Path("x")

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("the name is bad")


VALUES = {"name": "n", "inner": {"sides": [1, 2]}}


def test_a_configuration_survives_json() -> None:
    config = Outer("n", Inner((1, 2), 0.5), limit=2.0, lanes="auto", more=(Inner((3,)),), folder=Path("y"))
    assert config_from_dict(Outer, config_to_dict(config)) == config


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"nmae": 1}, "f.json: unknown field 'nmae'; did you mean 'name' or 'more'?; Outer has name"),
        ({"inner": {"sides": [1], "rat": 2}}, "f.json: unknown field 'rat' in inner; did you mean 'rate'"),
        ({"inner": {}}, "f.json: field 'sides' of Inner is missing in inner"),
        ({"name": None}, "f.json: field name is null, expected a valid string"),
        ({"inner": {"sides": [1, "2"]}}, 'f.json: field inner.sides.1 is "2", expected a valid integer'),
        ({"inner": {"sides": [True]}}, "f.json: field inner.sides.0 is true, expected a valid integer"),
        ({"inner": {"sides": [1], "rate": float("nan")}}, "f.json: field inner.rate is NaN, expected a finite number"),
        ({"inner": {"sides": 5}}, "f.json: field inner.sides is 5, expected a list"),
        ({"inner": 5}, "f.json: field inner is 5, expected an object"),
        ({"pair": [1]}, "f.json: field pair is [1], expected a value at place 1"),
        ({"pair": [1, 2, 3]}, "f.json: field pair is [1, 2, 3], expected at most 2 values, not 3"),
        ({"kind": "c"}, "f.json: field kind is \"c\", expected 'a' or 'b'"),
        ({"limit": "1"}, 'f.json: field limit is "1", expected a valid number'),
        ({"lanes": "all"}, 'f.json: field lanes is "all", expected'),
        ({"lanes": 1.5}, "f.json: field lanes is 1.5, expected"),
        ({"more": [{"sides": [1.5]}]}, "f.json: field more.0.sides.0 is 1.5, expected a valid integer"),
        ({"name": "bad"}, "f.json: the name is bad"),
        ({"inner": {"sides": [7]}}, "f.json, field inner: seven is unlucky"),
        ({"more": [{"sides": [7]}]}, "f.json, field more: seven is unlucky"),
        ({"name": "\ud800"}, "f.json: field name is"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_field(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError) as refused:
        config_from_dict(Outer, {**VALUES, **change}, "f.json")
    assert str(refused.value).startswith(complaint)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("values", [None, [], 5, "x"])
def test_something_else_than_an_object_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match=r"^f\.json: expected .*with the fields of Outer, found"):
        config_from_dict(Outer, values, "f.json")
