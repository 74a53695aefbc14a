"""The commands of the command line that train."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name

from real2sim.arguments import parse as _parse

UNFINISHED = "The time is over; the training in {} is not finished. Run the same command again to resume."


def train_world_model(arguments: Sequence[str]) -> None:
    """Train a world model with Diffusion Forcing: a small new one, or with --released a converted one."""
    from real2sim.drawer.presets import fill_in
    from real2sim.vid2world.load import TRAININGS

    given = {word.split("=")[0] for word in arguments}
    chosen = next((place for option, place in TRAININGS.items() if option in given), TRAININGS[""])
    config = fill_in(_parse(resolve_name(chosen), "train world-model", arguments))
    folder = config.run()
    print(f"world model: {folder}" if folder else UNFINISHED.format(config.out))


def train_policy(arguments: Sequence[str]) -> None:
    """Train an RT-1 policy by behaviour cloning."""
    from real2sim.policies.rt1.train import PolicyTraining
    from real2sim.policies.rt1.train import train_policy as train

    config = _parse(PolicyTraining, "train policy", arguments)
    folders = train(config)
    print("\n".join(f"policy: {folder}" for folder in folders))
    if len(folders) < len(config.save_at):
        print(UNFINISHED.format(config.out))


def train_imitation(arguments: Sequence[str]) -> None:
    """Train an imitation policy: frame stacks, recurrent, action chunks; regression, mixture or diffusion."""
    from real2sim.policies.imitation.train import ImitationTraining
    from real2sim.policies.imitation.train import train_imitation as train

    config = _parse(ImitationTraining, "train imitation", arguments)
    folders = train(config)
    print(*(f"policy: {folder}" for folder in folders), sep="\n", end="\n" if folders else "")
    if config.out / "policy" not in folders:
        print(UNFINISHED.format(config.out))


def train_classifier(arguments: Sequence[str]) -> None:
    """Train a success classifier on episodes with known outcomes."""
    from real2sim.drawer.presets import drawer_goals
    from real2sim.success.train_classifier import ClassifierTraining
    from real2sim.success.train_classifier import train_classifier as train

    config = _parse(ClassifierTraining, "train classifier", arguments)
    judge = train(config, drawer_goals())
    print(f"judge: {config.out / 'model'}" if judge else UNFINISHED.format(config.out))


def train_gate(arguments: Sequence[str]) -> None:
    """Train a validity gate, which says from which frame on a video stops following its actions."""
    from real2sim.success.train_gate import GateTraining
    from real2sim.success.train_gate import train_gate as train

    config = _parse(GateTraining, "train gate", arguments)
    gate = train(config)
    print(f"gate: {config.out / 'model'}" if gate else UNFINISHED.format(config.out))
