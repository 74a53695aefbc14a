"""Damaged datasets and states of trainings are refused with their file, and a full disk is one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from real2sim.episodes.arrays import read_arrays, write_arrays

pytestmark = pytest.mark.slow

Refused = Callable[..., str]

TRAININGS = {
    "imitation": ["train", "imitation", "--steps", "1", "--batch", "2", "--data.folder", "{data}", "--out", "{out}"],
    "gate": ["train", "gate", "--steps", "1", "--batch", "2", "--data", "{data}", "--out", "{out}"],
    "policy": ["train", "policy", "--steps", "1", "--batch", "2", "--data.folder", "{data}", "--out", "{out}"],
    "classifier": ["train", "classifier", "--steps", "1", "--batch", "2", "--negatives", "early",
                   "--data", "{data}", "--out", "{out}"],
    "world-model": ["train", "world-model", "--optimisation.steps", "1", "--optimisation.windows", "1",
                    "--optimisation.frames", "3", "--perception.weight", "0", "--data", "{data}", "--out", "{out}"],
}  # fmt: skip


def training(name: str, data: Path, out: Path) -> list[str]:
    return [word.format(data=data, out=out) for word in TRAININGS[name]]


def spoil(path: Path, kind: str) -> None:
    content, arrays = path.read_bytes(), read_arrays(path)
    if kind == "flipped":
        with zipfile.ZipFile(path) as archive:
            place = archive.getinfo("image.npy").header_offset + 5000
        path.write_bytes(
            content[:place] + bytes(255 - byte for byte in content[place : place + 9]) + content[place + 9 :]
        )
        return
    if kind == "half":
        path.write_bytes(content[: len(content) // 2])
        return
    if kind == "pickled":
        np.savez(path, **{**arrays, "image": np.array([{}, {}], dtype=object)})
        return
    action = arrays["action"].copy()
    action[2, 10] = np.nan
    changes = {
        "NaN action": {"action": action},
        "another size": {"image": np.zeros((6, 32, 32, 3), np.uint8)},
        "no frame": {
            "image": arrays["image"][:0],
            "action": arrays["action"][:0],
            "joint": arrays["joint"][:0],
        },
        "success as text": {"success": np.array("yes")},
        "one frame": {"image": arrays["image"][:1], "action": arrays["action"][:1]},
        "no action": {"action": arrays["action"][:0]},
        "more actions than frames": {"action": np.zeros((7, 13), np.float32)},
        "an action that no robot has": {"action": arrays["action"].astype(np.float64) + 1e300},
        "an instruction as number": {"instruction": np.array(3)},
        "two instructions": {"instruction": np.array(["a", "b"])},
        "bytes as instruction": {"instruction": np.array(b"close drawer")},
        "float frames": {"image": arrays["image"].astype(np.float32)},
        "actions as text": {"action": arrays["action"].astype("U8")},
    }
    write_arrays(path, {**arrays, **changes[kind]})


KINDS = {
    "policy": [
        "flipped",
        "half",
        "pickled",
        "NaN action",
        "another size",
        "no frame",
        "float frames",
        "actions as text",
    ],
    "imitation": [
        "one frame",
        "no action",
        "another size",
        "an action that no robot has",
        "two instructions",
    ],
    "classifier": [
        "flipped",
        "pickled",
        "success as text",
        "no frame",
        "another size",
        "an instruction as number",
        "bytes as instruction",
    ],
    "gate": ["no action", "more actions than frames", "an action that no robot has"],
    "world-model": [
        "flipped",
        "pickled",
        "NaN action",
        "another size",
        "no frame",
        "no action",
        "an action that no robot has",
    ],
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in KINDS.items() for kind in kinds])
def test_a_damaged_episode_stops_a_training_before_it_begins(
    dataset: Path, tmp_path: Path, refused: Refused, name: str, kind: str
) -> None:
    spoil(dataset / "1.npz", kind)
    # Of two sizes either may be called the odd one.
    about = dataset if kind == "another size" else dataset / "1.npz"
    said = refused(*training(name, dataset, tmp_path / "out"), about=str(about))
    assert kind != "NaN action" or "step 2" in said
    assert not (tmp_path / "out" / "model").exists()


def test_a_full_disk_is_one_sentence_in_every_command(
    tmp_path: Path, dataset: Path, scored_run: Path
) -> None:
    """Files may not grow beyond a limit; each command runs in a process that obeys it."""
    run = shutil.copytree(scored_run, tmp_path / "run")
    (run / "scores-classifier.jsonl").unlink(missing_ok=True)
    code = (
        "import json, resource, signal, sys; from real2sim.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "for size, words in json.loads(sys.argv[1]):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))\n"
        "    try: main(words)\n"
        "    except SystemExit as ended: print(ended.code, file=sys.stderr)\n"
    )
    commands = [
        (100, ["score", str(run)]),
        (300_000, training("policy", dataset, tmp_path / "p")),
        (10_000, training("policy", dataset, tmp_path / "q")),
        (100_000, training("classifier", dataset, tmp_path / "c")),
        (300_000, training("world-model", dataset, tmp_path / "w")),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == len(commands), done.stderr
    assert all("disk is full" in line for line in said)
    assert [line for line in done.stderr.splitlines() if line.isdigit()] == ["2"] * len(commands)
    left = [path for path in tmp_path.rglob(".*") if path.is_file()]
    assert left == [path for path in left if path.name == ".lock"]


STATES = [b"", b"x" * 300, b"\x80\x02cos\nsystem\n", None]


@pytest.mark.parametrize("content", STATES)
def test_a_damaged_state_of_a_training_is_named(
    dataset: Path, tmp_path: Path, refused: Refused, content: bytes | None
) -> None:
    from real2sim.cli import main

    out = tmp_path / "out"
    main(training("policy", dataset, out))
    (state,) = [path for path in out.rglob("*") if path.name.startswith("checkpoint.")]
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2] if content is None else content)
    refused(*training("policy", dataset, out), about=str(state))


@pytest.mark.parametrize("content", [b"[]", b"{}", b"", b"null", b'"x"'])
def test_a_damaged_description_of_a_training_is_named(
    dataset: Path, tmp_path: Path, refused: Refused, content: bytes
) -> None:
    from real2sim.cli import main

    out = tmp_path / "out"
    main(training("policy", dataset, out))
    (out / "training.json").write_bytes(content)
    refused(*training("policy", dataset, out), about=str(out))


@pytest.mark.parametrize(
    "option", [("--seed", "-1"), ("--seed", str(2**64)), ("--horizon", "0"), ("--episodes", "0")]
)
def test_options_of_metrics_that_cannot_be(
    dataset: Path, tiny_suite: Path, tmp_path: Path, refused: Refused, option: tuple[str, str]
) -> None:
    words = [
        "metrics",
        "--out",
        str(tmp_path / "out"),
        "--data",
        str(dataset),
        "--model",
        str(tiny_suite / "world_model"),
    ]
    refused(*words, *option, about=option[0].strip("-"))
