"""Weights are compared with the sums that were written beside them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from real2sim.built_in import ASSETS
from real2sim.checksums import SUMS_FILE, check_checksum, write_checksums
from real2sim.cli import main
from real2sim.model_folder import folder_fingerprint, read_tensors
from real2sim.policies.imitation.policy import ImitationPolicy
from real2sim.success.classifier import SuccessClassifier
from real2sim.vid2world.world_model import WorldModel

POLICY = ASSETS / "drawer" / "policies" / "timid"


def change(path: Path, position: int, flip: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= flip
    path.write_bytes(content)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(POLICY, tmp_path_factory.mktemp("models") / "policy"))


SIZE = (POLICY / "model.safetensors").stat().st_size


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, SIZE - 1), flip=st.integers(1, 255))
def test_a_changed_byte_anywhere_in_the_weights_is_noticed(policy: Path, position: int, flip: int) -> None:
    weights = policy / "model.safetensors"
    change(weights, position, flip)
    try:
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            read_tensors(weights)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            folder_fingerprint(policy)
    finally:
        change(weights, position, flip)
    assert read_tensors(weights)


def test_every_shipped_model_lists_its_weights_as_sha256sum_does() -> None:
    folders = {path.parent for path in ASSETS.rglob("*.safetensors")}
    assert len(folders) > 20
    for folder in folders:
        listed = {line.split()[1] for line in (folder / SUMS_FILE).read_text().splitlines()}
        assert listed == {path.name for path in folder.glob("*.safetensors")}
        if shutil.which("sha256sum"):
            subprocess.run(["sha256sum", "--check", "--quiet", "--strict", SUMS_FILE], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("policies/timid", ImitationPolicy.from_folder),
        ("judge", SuccessClassifier.from_folder),
        ("world_model", WorldModel.from_folder),
    ],
)
def test_commands_and_python_name_a_file_that_is_another_one(
    name: str, read: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = shutil.ignore_patterns("denoising*", "converged", "mixture")
    suite = Path(shutil.copytree(ASSETS / "drawer", tmp_path / "suite", ignore=left_out))
    policy = suite / "policies" / "timid"
    for file in sorted((suite / name).glob("*.safetensors")):
        change(file, -5, 1)
        words = (
            f"{file} has the SHA-256 sum .*, expected .* as .*{SUMS_FILE} says; copy the model's folder again"
        )
        with pytest.raises(ValueError, match=words):
            read(suite / name)
        with pytest.raises(SystemExit) as ended:
            main(["suite", "check", str(suite), "--policies", f"timid={policy}"])
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert f"{file} has the SHA-256 sum" in said.out + said.err
        change(file, -5, 1)


def test_weights_that_no_list_names_may_be_any(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"anything")
    check_checksum(file)
    (tmp_path / SUMS_FILE).write_text("")
    check_checksum(file)
    write_checksums(tmp_path)
    assert (
        tmp_path / SUMS_FILE
    ).read_text() == f"{hashlib.sha256(b'anything').hexdigest()}  model.safetensors\n"
    file.write_bytes(b"other")
    with pytest.raises(ValueError, match=f"remove {SUMS_FILE}"):
        check_checksum(file)


@pytest.mark.parametrize("line", ["abc", "0" * 63 + "  model.safetensors", "0" * 64 + "  ../x", "{}"])
def test_a_list_of_sums_that_is_damaged_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / SUMS_FILE).write_text("0" * 64 + "  other.safetensors\n" + line + "\n")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=f"{SUMS_FILE}, line 2: found .*, expected a SHA-256 sum"):
        check_checksum(tmp_path / "model.safetensors")
