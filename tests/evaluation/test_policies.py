from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from real2sim.evaluation.policy_sources import find_policies
from real2sim.policies.random_policy import RandomPolicy
from real2sim.simulation.loop import Job
from real2sim.simulation.observation import observe_frames
from real2sim.simulation.suite import Suite, load_suite


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    return Suite.from_folder(tiny_suite)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "http://host:8000",
            "'http://host:8000' begins like no policy server; expected ws://, wss:// or zmq://",
        ),
        ("~nobody-here/p", "~nobody-here/p begins with the home of a user who is not known here"),
        ("far=WS://host:8000", "expected ws://, wss:// or zmq://"),
        ("slow=late", "'late' keeps its name; write late alone, or the folder of a policy"),
        ("a:b=random", "'random' keeps its name"),
        ("x=replay:push", "'replay:push' keeps its name"),
        ("ws://h:1#action=x:0", "action= names the parts of GR00T's actions"),
        ("m=ws://h:1#images=nope:x", "robot 'tiny' has no camera 'nope'"),
    ],
)
def test_a_place_that_is_none_is_said_with_what_to_write(tiny_suite: Path, written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        find_policies([written], load_suite(tiny_suite))


def test_shipped_stands_for_all_of_them_with_their_families(suite: Suite) -> None:
    found = find_policies(["shipped"], suite)
    assert [(source.name, source.family, source.kind) for source in found] == [
        ("early", "one-run", "rt1"),
        ("late", "one-run", "rt1"),
        ("other", "another-run", "rt1"),
    ]
    assert len({source.fingerprint for source in found}) == 3


def test_a_folder_is_called_by_its_name_or_by_the_one_given(suite: Suite) -> None:
    folder = suite.folder / "policies" / "early"
    plain, renamed = find_policies([str(folder), f"mine={folder}"], suite)
    assert (plain.name, renamed.name) == ("early", "mine")
    assert plain.fingerprint == renamed.fingerprint


def test_a_folder_and_a_file_may_have_an_equals_sign_in_their_names(suite: Suite, tmp_path: Path) -> None:
    folder = tmp_path / "lr=0.1,seed=2" / "bc"
    shutil.copytree(suite.folder / "policies" / "early", folder)
    (tmp_path / "lr=0.1,seed=2" / "p.py").write_text(
        "class P:\n    def reset(self, instructions): pass\n    def act(self, observation): pass\n"
    )
    written = [str(folder), f"mine={folder}", f"{tmp_path / 'lr=0.1,seed=2' / 'p.py'}:P"]
    assert [source.name for source in find_policies(written, suite)] == ["bc", "mine", "P"]


def test_a_folder_acts_on_the_frames_of_the_suite(suite: Suite) -> None:
    (source,) = find_policies(["late"], suite)
    starts = suite.starts("close_drawer", 2)
    policy = source.load("cpu")([Job("late", start, 0) for start in starts])
    policy.reset([start.task.instruction for start in starts])
    actions = policy.act(observe_frames(np.stack([start.frame for start in starts])))
    assert actions.shape == (2, 13)


def test_recordings_are_aligned_with_their_starts_whatever_the_order(suite: Suite) -> None:
    (source,) = find_policies(["replay:push"], suite)
    starts = suite.starts("open_drawer")[::-1]
    policy = source.load("cpu")([Job(source.name, start, 0) for start in starts])
    policy.reset([start.task.instruction for start in starts])
    actions = policy.act(observe_frames(np.stack([start.frame for start in starts])))
    np.testing.assert_array_equal(actions, suite.replays("open_drawer")["push"][::-1, 0])


def test_a_controller_takes_part_only_in_the_tasks_it_was_recorded_for(suite: Suite) -> None:
    tasks = {source.name: source.tasks for source in find_policies(["replay:all"], suite)}
    assert tasks == {"replay:push": ("close_drawer", "open_drawer"), "replay:pull": ("open_drawer",)}


def test_an_own_object_and_a_server_take_part_by_name(suite: Suite) -> None:
    own, server = find_policies(
        ["mine", "far=ws://localhost:8000"], suite, {"mine": RandomPolicy(suite.robot)}
    )
    assert (own.kind, own.name) == ("python", "mine")
    assert (server.kind, server.name, server.fingerprint) == ("remote", "far", "ws://localhost:8000")


def test_waiting_longer_for_a_server_does_not_make_it_another_policy(suite: Suite) -> None:
    patient, other = find_policies(["ws://h:1#patience=99", "ws://h:1#execute=4,patience=9"], suite)
    assert (patient.name, patient.fingerprint) == ("ws://h:1", "ws://h:1")
    assert (other.name, other.fingerprint) == ("ws://h:1#execute=4", "ws://h:1#execute=4")


def test_a_published_saved_model_is_a_policy_of_its_own_weights(suite: Suite, tmp_path: Path) -> None:
    export = Path(__file__).parents[1] / "data/rt1/agents_export"
    shutil.copytree(export, tmp_path / "rt1main")
    (plain,) = find_policies([str(tmp_path / "rt1main")], suite)
    (tmp_path / "rt1main/embeddings.npz").write_bytes(b"other")
    (renamed,) = find_policies([f"mine={tmp_path / 'rt1main'}"], suite)
    assert (plain.name, plain.kind, renamed.name) == ("rt1main", "rt1", "mine")
    assert plain.fingerprint != renamed.fingerprint


def test_a_folder_of_another_kind_is_refused(suite: Suite) -> None:
    with pytest.raises(ValueError, match="holds a model of kind 'world_model'; expected a policy"):
        find_policies([str(suite.folder / "world_model")], suite)


def test_two_folders_of_one_name_ask_for_another_name(suite: Suite, tmp_path: Path) -> None:
    shutil.copytree(suite.folder / "policies" / "early", tmp_path / "early")
    with pytest.raises(ValueError, match=r"two policies are called 'early'; .* name=folder"):
        find_policies(["early", str(tmp_path / "early")], suite)


def test_a_folder_without_weights_is_named(suite: Suite, tmp_path: Path) -> None:
    shutil.copytree(suite.folder / "policies" / "early", tmp_path / "early")
    (tmp_path / "early" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"early/model\.safetensors does not exist"):
        find_policies([str(tmp_path / "early")], suite)


def test_a_policies_table_needs_its_columns(suite: Suite, tmp_path: Path) -> None:
    shutil.copytree(suite.folder, tmp_path / "suite")
    (tmp_path / "suite" / "policies.csv").write_text("name,weights\na,b\n")
    with pytest.raises(ValueError, match="expected policy and family"):
        find_policies(["shipped"], Suite.from_folder(tmp_path / "suite"))


def checkpoint(suite: Suite, place: Path, policy: str = "early") -> str:
    shutil.copytree(suite.folder / "policies" / policy, place)
    return str(place)


def test_checkpoints_of_one_training_folder_are_one_family(suite: Suite, tmp_path: Path) -> None:
    names = [checkpoint(suite, tmp_path / "run" / f"at-{share}") for share in (50, 75, 100)]
    names.append(
        "late=" + checkpoint(suite, tmp_path / "other" / "checkpoints" / "005000" / "pretrained_model")
    )
    names.append(checkpoint(suite, tmp_path / "alone"))
    found = find_policies(names, suite)
    assert [source.family for source in found] == ["run", "run", "run", "other", "alone"]


def test_checkpoints_with_names_of_their_own_are_known_by_the_file_of_the_training(
    suite: Suite, tmp_path: Path
) -> None:
    names = [checkpoint(suite, tmp_path / "run" / name) for name in ("best", "last")]
    assert [source.family for source in find_policies(names, suite)] == ["best", "last"]
    (tmp_path / "run" / "training.json").write_text("{}")
    assert [source.family for source in find_policies(names, suite)] == ["run", "run"]


def test_training_folders_of_one_name_are_not_one_family(suite: Suite, tmp_path: Path) -> None:
    names = [f"{user}=" + checkpoint(suite, tmp_path / user / "run" / "at-100") for user in ("ann", "bob")]
    assert [source.family for source in find_policies(names, suite)] == ["ann/run", "bob/run"]


def test_a_family_can_be_given_to_folders_and_servers(suite: Suite, tmp_path: Path) -> None:
    folder = checkpoint(suite, tmp_path / "run" / "at-50")
    found = find_policies([f"mine:half={folder}", "mine:far=ws://localhost:8000"], suite)
    assert [(source.family, source.name) for source in found] == [("mine", "half"), ("mine", "far")]


@pytest.mark.parametrize("name", ["=folder", "name=", ":name=folder", "family:=folder"])
def test_a_name_or_family_without_letters_is_refused(suite: Suite, name: str) -> None:
    with pytest.raises(ValueError, match="expected family:name=place"):
        find_policies([name], suite)


def test_a_training_folder_is_answered_with_the_policies_in_it(suite: Suite, tmp_path: Path) -> None:
    for name in ("policy", "at-50"):
        shutil.copytree(suite.folder / "policies" / "early", tmp_path / "training" / name)
    with pytest.raises(ValueError) as refused:
        find_policies([f"mine={tmp_path / 'training'}"], suite)
    inside = [str(tmp_path / "training" / name) for name in ("at-50", "policy")]
    assert f"holds the folders {', '.join(inside)}; name one of those" in str(refused.value)
