from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from real2sim.cli import main
from real2sim.episodes.run_folder import load_run


@pytest.mark.slow
def test_outcomes_along_the_way_end_as_the_episode_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options = ["--policies", "replay:all", "--tasks", "close_drawer", "--starts", "2", "--world", "mujoco"]
    main(["rollout", "--out", str(run), *options, "--processes", "1"])
    main(["horizon", str(run), "--lengths", "5", "20", "--episodes", "6"])
    said = capsys.readouterr().out
    assert "5 steps:" in said and "horizon.csv" in said
    table, rows = pd.read_csv(run / "horizon.csv"), load_run(run).set_index("episode")
    assert set(table["steps"]) <= {5, 20}
    assert table["episode"].nunique() == 6
    # The run was made in the same physics: after all steps of an episode its outcome is the run's own.
    whole = table[table["steps"] == table["episode"].map(rows["steps"])]
    assert len(whole)
    for row in whole.itertuples():
        assert bool(row.real_success) == bool(rows.loc[row.episode, "success"])
