"""A whole suite at toy size, of the real classes with random weights."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from real2sim.offscreen import import_triton_first
from tests.headless_chromium import browser, chromium

__all__ = ["browser", "chromium"]

# Before anything imports torch: sums depend on the number of threads, and tests compare processes with each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before a test file imports MuJoCo itself.
os.environ.setdefault("MUJOCO_GL", "osmesa")
import_triton_first()

# Makers of small recordings that several tests read.
sys.path[:0] = [str(Path(__file__).parent / "episodes" / name) for name in ("lerobot", "rlds")]


def pytest_collection_finish() -> None:
    """Leave what imports and the collection have made out of garbage collections, of which statsmodels asks for one in
    each correction for many tests."""
    gc.collect()
    gc.freeze()


TASKS = (("close_drawer", "close drawer"), ("open_drawer", "open drawer"))
STARTS, HORIZON = 6, 5
POLICIES = {"early": "one-run", "late": "one-run", "other": "another-run"}


@pytest.fixture(scope="session")
def tiny_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite folder: 16 x 16 pixels, two tasks of six starts, world model, judge, policies, recordings."""
    import torch

    from real2sim.actions import pack
    from real2sim.episodes.arrays import write_arrays
    from real2sim.model_folder import write_folder
    from real2sim.policies.rt1.config import RT1Config
    from real2sim.policies.rt1.instructions import InstructionTable
    from real2sim.policies.rt1.policy import RT1, save_rt1
    from real2sim.simulation.suite import Start, SuiteConfig, Task, write_suite
    from real2sim.success.classifier import KIND, ClassifierConfig, OutcomeNetwork
    from real2sim.vid2world.world_model import WorldModel
    from real2sim.vid2world.world_model_config import WorldModelConfig

    folder = tmp_path_factory.mktemp("suites") / "tiny"
    rng = np.random.default_rng(0)
    tasks = tuple(Task(name, instruction, HORIZON) for name, instruction in TASKS)
    config = SuiteConfig(
        name="tiny",
        tasks=tasks,
        image_size=(16, 16),
        used_fields=("world_vector", "gripper_closedness_action", "terminate_episode"),
        limits={"world_vector": (-0.06, 0.06)},
        real_source="made up",
    )
    starts = {
        task.name: [
            Start(task, f"{task.name}-{i}", rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            for i in range(STARTS)
        ]
        for task in tasks
    }
    write_suite(folder, config, starts)
    moves = rng.uniform(-0.06, 0.06, (2, STARTS, HORIZON, 3)).astype(np.float32)
    write_arrays(
        folder / "replays.npz",
        {
            "close_drawer/push/actions": pack({"world_vector": moves[0]}),
            "open_drawer/push/actions": pack({"world_vector": moves[1]}),
            "open_drawer/pull/actions": pack({"world_vector": -moves[1]}),
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WorldModel(WorldModelConfig.tiny())
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        model.save(folder / "world_model", "# Toy world model")
        judge = ClassifierConfig.tiny()
        network = OutcomeNetwork(judge)
        write_folder(folder / "judge", KIND, judge, network.state_dict(), "# Toy judge")
        table = InstructionTable.random([instruction for _, instruction in TASKS], RT1Config.tiny().embedding)
        for name in POLICIES:
            save_rt1(folder / "policies" / name, RT1(RT1Config.tiny()), table, "# Toy policy")
    lines = ["policy,family", *(f"{name},{family}" for name, family in POLICIES.items())]
    (folder / "policies.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def tiny_run(tmp_path: Path) -> Path:
    """A run folder of four episodes of one policy called begin, 16 x 16 pixels, five frames, not scored."""
    from real2sim.episodes.run_folder import RowWriter, RunFolder

    folder = RunFolder(tmp_path / "tiny_run")
    folder.open({"suite": "toy"}, {})
    rng = np.random.default_rng(0)
    with RowWriter(folder, 0) as writer:
        for number in range(4):
            row = {
                "episode": f"begin-{number}",
                "task": "close_drawer",
                "policy": "begin",
                "start": f"close_drawer-{number}",
                "instruction": "close drawer",
            }
            frames = rng.integers(0, 256, (5, 16, 16, 3), np.uint8)
            writer.write(row, frames, np.zeros((4, 13), np.float32))
    return folder.path
