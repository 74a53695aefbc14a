"""Policies in Python that misbehave: a sentence, never a wrong video, and nothing left of a start that failed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from real2sim.actions import rt1_robot
from real2sim.cli import main
from real2sim.episodes.run_folder import RunFolder, load_run
from real2sim.policies.python_policy import find_python

Refused = Callable[..., str]
HEAD = """
import numpy as np

class Good:
    def __init__(self, robot):
        self.robot = robot

    def reset(self, instructions):
        self.lanes = len(instructions)

    def good(self):
        return np.zeros((self.lanes, self.robot.action_width), np.float32)

    def act(self, observation):
        return self.good()

class Bad(Good):
"""
FAILS = {
    "ends Python in act": ("def act(self, o): raise SystemExit(0)", "failed in act: {file}, line 18: SystemExit: 0"),
    "ends Python in reset": ("def reset(self, i): import sys; sys.exit('bye')", "failed in reset: {file}, line 18"),
    "ends Python when it is made": ("def __init__(self): raise SystemExit", "'p' cannot be made: {file}, line 18"),
    "cannot be made": ("def __init__(self): raise RuntimeError('no weights')", "RuntimeError: no weights"),
    "cannot say what is wrong": (
        "class E(Exception):\n        def __str__(self): raise ValueError\n    def act(self, o): raise self.E",
        "'p' failed in act: {file}, line 20: E",
    ),
    "answers nothing": ("def act(self, o): return None", "step 0: actions are of type NoneType, expected (2, 13)"),
    "answers a mapping": ("def act(self, o): return {'actions': self.good()}", "actions are of type dict, expected"),
    "answers masked numbers": ("def act(self, o): return np.ma.array(self.good(), mask=True)", "26 numbers of the act"),
    "answers truth values": ("def act(self, o): return self.good().astype(bool)", "actions are of type bool"),
    "answers a sparse tensor": (
        "def act(self, o): import torch; return torch.zeros(2, 13).to_sparse()", "a tensor without plain numbers",
    ),
    "answers a tensor without values": (
        "def act(self, o): import torch; return torch.zeros(2, 13, device='meta')", "a tensor without plain numbers",
    ),
    "answers what fails when it is read": (
        "def act(self, o): return type('A', (), {'__array__': lambda s, *a, **k: 1 / 0})()",
        "step 0: actions are no array of numbers (a A that fails with ZeroDivisionError: division by zero)",
    ),
    "needs something of no kind": (
        "requires = 5", "'p' has requires = 5, expected real2sim.policies.policy.Requirements",
    ),
    "says it has everything": ("def __getattr__(self, name): return lambda *a: None", "'p' has requires = <function"),
    "raises what ends generators": ("def act(self, o): raise GeneratorExit", "failed in act: {file}, line 18"),
    "runs out of memory": ("def act(self, o): raise MemoryError('m')", "in act: {file}, line 18: MemoryError: m"),
    "makes an array of any size": ("def act(self, o): np.zeros(10**15)", "line 18: MemoryError: Unable to allocate"),
    "raises an exception of no kind": ("def act(self, o): raise BaseException('b')", "line 18: BaseException: b"),
    "answers one lane": ("def act(self, o): return self.good()[0]", "actions have shape (13,), expected (2, 13)"),
}  # fmt: skip
HARMLESS = {
    "changes torch": "import torch; torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)",
    "chooses a device": "import torch; torch.set_default_device('meta')",
    "casts": "import torch; self.cast = torch.autocast('cpu', torch.bfloat16); self.cast.__enter__()",
    "chooses a precision": "import torch; torch.set_float32_matmul_precision('medium'); torch.set_num_threads(3)",
    "wants repeatable sums": "import torch; torch.use_deterministic_algorithms(True)",
    "changes NumPy": "np.seterr(all='raise'); np.seterrcall(lambda *a: 1 / 0)",
    "makes warnings errors": "import warnings; warnings.simplefilter('error')",
    "takes the streams": "import sys; sys.stdout = sys.stderr = None",
    "replaces Python's functions": "import builtins as b; b.print = b.open = None; import json; json.loads = len",
    "replaces the system's functions": "import os, sys, time; sys.exit = os.replace = time.time = os._exit = None",
    "replaces NumPy's functions": "import torch; np.stack = np.asarray = torch.cat = None",
    "moves elsewhere": "import os; os.chdir('/')",
    "paints over what it is shown": "observation.frames[:] = 0; observation.images['image'][...] = 0",
    "seeds every generator": "import random, torch; torch.manual_seed(0); np.random.seed(0); random.seed(0)",
}


def options(suite: Path, policy: Path, name: str) -> list[str]:
    return [
        "--suite", str(suite), "--starts", "2", "--lanes", "2", "--processes", "1", "--tasks", "close_drawer",
        "--policies", f"p={policy}:{name}",
    ]  # fmt: skip


def written(folder: Path, code: str) -> Path:
    """A file with a good policy, and ``Bad``, whose class holds ``code``."""
    file = folder / "policy.py"
    file.write_text(HEAD + f"    {code}\n")
    return file


@pytest.mark.parametrize("kind", FAILS)
def test_a_policy_that_fails_is_one_sentence_and_leaves_nothing(
    tiny_suite: Path, tmp_path: Path, refused: Refused, kind: str
) -> None:
    code, complaint = FAILS[kind]
    file = written(tmp_path, code)
    out = tmp_path / "new" / "run"
    said = refused("rollout", "--out", out, *options(tiny_suite, file, "Bad"))
    assert complaint.format(file=file) in said
    assert "policy 'p'" in said
    assert not (tmp_path / "new").exists()


SILENT = {
    "class": (
        "pass\n\nclass M(type):\n    def __getattribute__(c, n): raise RuntimeError('no ' + n)\n\n"
        "class Bad(metaclass=M):\n    pass",
        "line 21: RuntimeError: no ",
    ),
    "object": ("def __getattribute__(self, n): raise KeyError(n)", "line 18: KeyError: 'reset'"),
    "object that was made": (
        "def __init__(self): pass\n    def __getattribute__(self, n): raise ValueError(n)", "line 19: ValueError: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SILENT)
def test_a_policy_that_cannot_be_asked_for_its_methods_is_one_sentence(
    tiny_suite: Path, tmp_path: Path, refused: Refused, kind: str
) -> None:
    code, complaint = SILENT[kind]
    file = written(tmp_path, code)
    said = refused("rollout", "--out", tmp_path / "out", *options(tiny_suite, file, "Bad"))
    assert f"{file}, {complaint}" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 7])
def test_a_policy_that_ends_its_worker_process_is_one_sentence(
    tiny_suite: Path, refused: Refused, tmp_path: Path, code: int
) -> None:
    file = written(tmp_path, f"def act(self, o): import ctypes; ctypes.CDLL(None)._exit({code})")
    words = [*options(tiny_suite, file, "Bad"), "--processes", "2", "--lanes", "1"]
    said = refused("rollout", "--out", tmp_path / "run", *words)
    assert f"was ended from within (code {code})" in said and "os._exit" in said


@pytest.fixture(scope="module")
def undisturbed(tiny_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the good policy."""
    folder = tmp_path_factory.mktemp("good")
    file = written(folder, "pass")
    main(["rollout", "--out", str(folder / "run"), *options(tiny_suite, file, "Good")])
    return folder / "run"


OFTEN = [
    ("act", "changes torch"),
    ("act", "casts"),
    ("act", "paints over what it is shown"),
    ("act", "replaces Python's functions"),
    ("import", "changes torch"),
]
SELDOM = [
    (where, kind) for where in ("act", "import", "init") for kind in HARMLESS if (where, kind) not in OFTEN
]
SELDOM = [(where, kind) for where, kind in SELDOM if where == "act" or "observation" not in HARMLESS[kind]]


@pytest.mark.parametrize(
    ("where", "kind"), [*OFTEN, *(pytest.param(*case, marks=pytest.mark.slow) for case in SELDOM)]
)
def test_what_a_policy_does_to_its_process_changes_no_frame(
    tiny_suite: Path,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    kind: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = HARMLESS[kind].replace("self.cast", "cast" if where == "import" else "self.cast")
    bad = {
        "act": f"    def act(self, observation):\n        {code}\n        return self.good()\n",
        "init": f"    def __init__(self, robot):\n        super().__init__(robot)\n        {code}\n",
        "import": f"    pass\n{code}\n",
    }
    Path("policy.py").write_text(HEAD + bad[where])
    main(["rollout", "--out", "Bad", *options(tiny_suite, Path("policy.py"), "Bad")])
    rows = load_run(undisturbed)
    assert len(rows) == 2
    for episode in rows["episode"]:
        for mine, other in zip(
            RunFolder(undisturbed).episode(episode), RunFolder("Bad").episode(episode), strict=True
        ):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    "where", ["import", *(pytest.param(name, marks=pytest.mark.slow) for name in ("init", "reset", "act"))]
)
def test_what_a_policy_changed_for_itself_holds_when_it_is_called_again(
    tiny_suite: Path, tmp_path: Path, where: str
) -> None:
    code = "import torch; torch.set_default_dtype(torch.float64)"
    at = {name: code if name == where else "pass" for name in ("import", "init", "reset", "act")}
    text = (
        HEAD
        + f"""
    def __init__(self, robot):
        super().__init__(robot)
        {at["init"]}

    def reset(self, instructions):
        super().reset(instructions)
        self.asked = 0
        {at["reset"]}

    def act(self, observation):
        self.asked += 1
        if self.asked == 1:
            {at["act"]}
        import torch
        action = self.good()
        action[:, 10] = 0.01 if torch.zeros(1).dtype == torch.float64 else -0.01
        return action

{at["import"]}
"""
    )
    file = tmp_path / "policy.py"
    file.write_text(text)
    main(["rollout", "--out", str(tmp_path / "run"), *options(tiny_suite, file, "Bad")])
    for episode in load_run(tmp_path / "run")["episode"]:
        np.testing.assert_allclose(RunFolder(tmp_path / "run").episode(episode)[1][:, 10], 0.01, rtol=1e-6)


def test_a_failed_start_keeps_the_files_that_were_there_and_the_next_one_goes_on(
    tiny_suite: Path, tmp_path: Path, refused: Refused
) -> None:
    file, out = tmp_path / "policy.py", tmp_path / "run"
    file.write_text(HEAD + "    def act(self, o): return None\n")
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refused("rollout", "--out", out, *options(tiny_suite, file, "Bad"))
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    main(["rollout", "--out", str(out), *options(tiny_suite, file, "Good")])
    refused("rollout", "--out", out, *options(tiny_suite, file, "Bad"), "--seed", "3")
    assert len(load_run(out)) == 2


def test_a_file_may_have_a_dot_in_its_name(tiny_suite: Path, tmp_path: Path) -> None:
    file = tmp_path / "policy.v2.py"
    file.write_text(HEAD + "    pass\n")
    main(["rollout", "--out", str(tmp_path / "run"), *options(tiny_suite, file, "Bad")])
    assert len(load_run(tmp_path / "run")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["threading.Thread", "multiprocessing.Process"])
def test_what_a_policy_leaves_running_does_not_keep_the_command_from_ending(
    tiny_suite: Path, tmp_path: Path, kind: str
) -> None:
    start = f"{kind}(target=time.sleep, args=(99,)).start()"
    code = f"def reset(self, i): import multiprocessing, threading, time; super().reset(i); {start}"
    words = ["rollout", "--out", str(tmp_path / "run"), *options(tiny_suite, written(tmp_path, code), "Bad")]
    done = subprocess.run(
        [sys.executable, "-m", "real2sim", *words], capture_output=True, text=True, timeout=80, check=True
    )
    what = "threads" if "Thread" in kind else "processes"
    assert f"{what} that a policy or library started still run; the command ends" in done.stderr
    assert len(load_run(tmp_path / "run")) == 2


def test_what_a_file_changed_when_it_was_imported_is_neither_anothers_nor_its_next_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in (("one", "import os; os.chdir('/')"), ("two", "pass"), ("one", "pass  # mended")):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        Path("policy.py").write_text(f"{HEAD}    pass\n{code}\n")
        for _ in range(2):
            # Asked for again, the file is not imported again.
            made = find_python("policy.py:Bad").make(rt1_robot(), "cpu", "p")
            assert made._settings.get("folder") == ("/" if "chdir" in code else None)
        assert Path.cwd() == tmp_path / name
