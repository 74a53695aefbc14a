"""A rollout: every policy on every start of every task, on as many processes as there are, resumable."""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from real2sim.checks import check_device
from real2sim.episodes.background_writer import BackgroundWriter
from real2sim.episodes.folder_lock import folder_lock
from real2sim.episodes.run_folder import EPISODES, RowCounter, RowWriter, RunFolder, load_run, undone_run
from real2sim.episodes.sound import unsound_episodes
from real2sim.evaluation.batches import Batch, episode_id, plan, starts_by_task
from real2sim.evaluation.consistency import measure_run, unmeasured
from real2sim.evaluation.episode_row import episode_row
from real2sim.evaluation.launch import exact_float32, launched_as, local_device, most_processes, threads
from real2sim.evaluation.own_policies import OwnPolicy, own_policies, pack
from real2sim.evaluation.policy_sources import PolicySource, find_policies
from real2sim.evaluation.rollout_config import RolloutConfig
from real2sim.evaluation.unchanged import check_robot_file, check_rows, keep_families, suite_fingerprint
from real2sim.evaluation.workers import Workers
from real2sim.files import DiskError
from real2sim.model_folder import config_to_dict
from real2sim.policies.object_fingerprint import has_acted
from real2sim.simulation.contracts import Policy
from real2sim.simulation.loop import play, takes_seeds
from real2sim.simulation.suite import Suite, load_suite
from real2sim.wording import without_password
from real2sim.worlds import check_world, open_world, state_source, world_fingerprint

if TYPE_CHECKING:
    import pandas as pd

LOG = logging.getLogger(__name__)
PATIENCE_FOR_LANES = 600.0
"""Seconds that other processes wait for the first one to measure."""


def rollout(
    config: RolloutConfig,
    policies: Mapping[str, Policy] | None = None,
    progress: bool = True,
    workers: Workers | None = None,
) -> pd.DataFrame:
    """Make the episodes that are missing in ``config.out`` and give the table of all that are there.

    ``policies`` offers own policy objects under names that ``config.policies`` may use.  Worker processes act with
    copies of them; with ``processes=1`` the objects themselves act.  Under a launcher (``RANK`` and ``WORLD_SIZE`` are
    set) this process makes its share only, and the table holds what the others have finished so far.  ``workers`` are
    worker processes that already run.  See `load_run` for the columns.
    """
    if not isinstance(config, RolloutConfig):
        raise ValueError(f"config is of type {type(config).__name__}, expected a real2sim.RolloutConfig")
    if policies is not None and not isinstance(policies, Mapping):
        raise ValueError(
            f"policies are of type {type(policies).__name__}, expected a mapping of names to policies"
        )
    own = own_policies(policies)
    try:
        return _rollout(config, own, progress, is_worker=False, workers=workers)
    finally:
        for policy in own.values():
            has_acted(policy.policy, policy.fingerprint)


def rollout_share(config: RolloutConfig, own: Mapping[str, OwnPolicy] | None = None) -> None:
    """Make one worker's share of a rollout, whose process has the run folder."""
    _rollout(config, own or {}, progress=False, is_worker=True)


def _rollout(
    config: RolloutConfig,
    own: Mapping[str, OwnPolicy],
    progress: bool,
    is_worker: bool,
    workers: Workers | None = None,
) -> pd.DataFrame:
    suite = load_suite(config.suite)
    sources = find_policies(config.policies, suite, own)
    own = {name: policy for name, policy in own.items() if name in config.policies}
    check_world(config.world, suite)
    starts_by_task(config, suite)  # refuses unknown tasks and too many starts before anything is written
    folder = RunFolder(config.out)
    rank, world_size = launched_as(os.environ)
    check_device(config.device)
    identity, details = _identity(config, suite, sources), _details(config, suite)
    families = {source.name: source.family for source in sources}
    with ExitStack() as held:
        if not is_worker:
            keep_families(folder, families, note=False)
            if folder.is_open(identity, details) and config.lanes != "auto":
                batches = plan(config, suite, sources)
                undrawn = _missing(batches, config, _sound_episodes(folder, suite))
                if not undrawn and not unmeasured(config, suite, sources):
                    return load_run(config.out)
            if world_size == 1:
                held.enter_context(undone_run(config.out))
            held.enter_context(folder_lock(config.out, world_size))
        with _clear_disk_errors(config.out):
            folder.open(identity, details)
            if rank == 0 and not is_worker:
                keep_families(folder, families, note=True)
                if folder.rows():
                    check_robot_file(config.out, suite)
                suite.robot.save(config.out)
            config = _with_lanes(config, suite, folder, rank)
        batches = plan(config, suite, sources)
        done = _sound_episodes(folder, suite, warn=rank == 0 and not is_worker)
        place = (rank, world_size)
        _draw(config, suite, batches, folder, place, done, own, progress, is_worker, workers)
        if rank == 0 and not is_worker:
            with _clear_disk_errors(config.out), threads(config.threads):
                _note_unseeded(folder)
                measure_run(config, suite, sources, local_device(config.device))
    return load_run(config.out)


def _note_unseeded(folder: RunFolder) -> None:
    """Write into ``run.json`` which policies are not told seeds: if they draw random numbers, their episodes cannot be
    drawn again."""
    found = sorted({str(row["policy"]) for row in folder.rows() if row.get("seeded") is False})
    if found != folder.settings().get("unseeded", []):
        folder.note("unseeded", found)


def _sound_episodes(folder: RunFolder, suite: Suite, warn: bool = False) -> set[str]:
    """Finished episodes whose files are there and undamaged; the others are to be drawn again."""
    rows = folder.rows()
    if rows:
        check_rows(folder, rows, suite)
    unsound = unsound_episodes(folder.path / EPISODES, rows, suite.robot.canvas_size)
    for name, complaint in list(unsound.items())[: 5 if warn else 0]:
        LOG.warning("%s %s; the episode is drawn again", folder.episode_path(name), complaint)
    if warn and len(unsound) > 5:
        LOG.warning("%d more episode files are missing or damaged and drawn again", len(unsound) - 5)
    return {str(row["episode"]) for row in rows} - set(unsound)


def _missing(batches: list[Batch], config: RolloutConfig, done: set[str]) -> list[Batch]:
    return [batch for batch in batches if any(episode_id(job, config) not in done for job in batch.jobs)]


def _draw(
    config: RolloutConfig,
    suite: Suite,
    batches: list[Batch],
    folder: RunFolder,
    place: tuple[int, int],
    done: set[str],
    own: Mapping[str, OwnPolicy],
    progress: bool,
    is_worker: bool,
    workers: Workers | None,
) -> None:
    """Draw what is missing, here or in worker processes."""
    rank, world_size = place
    missing = _missing(batches, config, done)
    total = sum(len(batch.jobs) for batch in batches)
    wanted = {episode_id(job, config) for batch in batches for job in batch.jobs}
    with tqdm(
        total=total, initial=len(wanted & done), unit="episode", disable=not progress or rank > 0
    ) as bar:
        counter = RowCounter(folder)
        before = counter.count() - bar.n

        def advance() -> None:
            added = min(total, counter.count() - before) - bar.n
            if added > 0:
                bar.update(added)

        processes = 1 if world_size > 1 else min(most_processes(config), max(len(missing), 1))
        packed = None
        if own and missing and (processes > 1 or workers is not None):
            packed = _packed(own, config)
            if packed is None:
                processes, workers = 1, None
        if workers is not None and missing:
            workers.run(config, advance, packed)
        elif processes > 1:
            with Workers(processes, config.threads) as started:
                started.run(config, advance, packed)
        else:
            with _clear_disk_errors(config.out):
                share = batches[rank::world_size]
                owned = is_worker or world_size == 1
                _work(config, suite, share, folder, rank, done, advance, owned)


def _with_lanes(config: RolloutConfig, suite: Suite, folder: RunFolder, rank: int) -> RolloutConfig:
    """``config`` with a number of lanes; one that was measured is kept in ``run.json``.

    So every process and every later start share batches in the same way, whatever else is in the memory then.
    """
    if config.lanes != "auto":
        return config
    until = time.monotonic() + PATIENCE_FOR_LANES
    while (lanes := folder.settings().get("lanes")) is None:
        if rank == 0:
            from real2sim.evaluation.lane_count import fitting_lanes

            device = local_device(config.device)
            with threads(config.threads):
                world = open_world(config.world, suite, device, config.sampling)
                lanes = fitting_lanes(world, suite, device, config.memory_limit, most_processes(config))
            folder.note("lanes", lanes)
            LOG.info("%d lanes fit into the memory", lanes)
        elif time.monotonic() > until:
            raise ValueError(
                f"no process measured how many lanes fit; give --lanes a number for {config.out}"
            )
        else:
            time.sleep(1)
    return replace(config, lanes=int(lanes), memory_limit=None)


def _work(
    config: RolloutConfig,
    suite: Suite,
    batches: list[Batch],
    folder: RunFolder,
    rank: int,
    done: set[str],
    advance: Any,
    owned: bool,
) -> None:
    todo = _missing(batches, config, done)
    if not todo:
        return
    device = local_device(config.device)
    with (
        BackgroundWriter(lambda: RowWriter(folder, rank, owned)) as writer,
        threads(config.threads),
        exact_float32(),
    ):
        world = open_world(config.world, suite, device, config.sampling)
        loaded, maker = None, None
        for batch in todo:
            if batch.source is not loaded:
                loaded, maker = batch.source, batch.source.load(device)
            assert maker is not None
            policy = maker(batch.jobs)
            for episode in play(world, policy, suite, batch.jobs):
                name = episode_id(episode.job, config)
                if name in done:
                    continue
                row = episode_row(name, episode, suite, batch.source, world)
                if batch.source.kind != "replay":
                    row["seeded"] = takes_seeds(policy)
                writer.write(row, episode.frames, episode.actions)
                done.add(name)
                advance()
    advance()


def _identity(config: RolloutConfig, suite: Suite, sources: list[PolicySource]) -> dict[str, Any]:
    return {
        "suite": suite_fingerprint(suite),
        "world": world_fingerprint(config.world, suite, config.sampling),
        "seed": config.seed,
        "policies": {source.name: f"{source.kind} {source.fingerprint}" for source in sources},
    }


def _details(config: RolloutConfig, suite: Suite) -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in ("real2sim", "torch", "numpy", "gymnasium", "mujoco"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    state = state_source(config.world, suite) or "none"
    shown = replace(config, policies=tuple(map(without_password, config.policies)))
    return {"config": config_to_dict(shown), "versions": versions, "created": now, "state": state}


def _packed(own: Mapping[str, OwnPolicy], config: RolloutConfig) -> bytes | None:
    """Own policies for worker processes; None where one cannot leave this process and nobody asked for others."""
    try:
        return pack(own)
    except ValueError as error:
        if config.processes is not None:
            raise
        LOG.warning("%s; this rollout uses one process", error)
        return None


@contextmanager
def _clear_disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except DiskError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(
                error.errno,
                f"the disk of {out} is full; finished episodes are saved, make room and run the same command again",
            ) from error
        raise
