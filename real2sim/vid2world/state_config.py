"""What a world model knows of a robot's proprioceptive state: names, commands, and how the state enters the network."""

from __future__ import annotations

from dataclasses import dataclass

from real2sim.checks import check_finite, check_sizes, check_whole
from real2sim.vid2world.pose_map import PoseMapConfig

LARGEST_PLACE = 1e6
"""Of a commanded position, in the state's unit."""
YAW = ".yaw"
"""How the name of an object's rotation about the vertical ends; degrees."""


@dataclass(frozen=True)
class Command:
    """A commanded position that displacements move: ``min(max(command + action, low), high)``, and after each step
    brought to within ``lead`` of the measured position, as a controller does that stores up no commands."""

    name: str
    """State number that holds the command."""
    action: int
    """Which of the action's numbers moves it, in the state's unit."""
    low: float
    high: float
    measured: str
    """State number that follows the command."""
    lead: float
    """How far the command may run ahead of it."""

    def __post_init__(self) -> None:
        for part in ("low", "high", "lead"):
            check_finite(f"command {self.name!r}: {part}", getattr(self, part), -LARGEST_PLACE, LARGEST_PLACE)
        check_whole(f"command {self.name!r}: action", self.action, 0)
        if not self.low < self.high:
            raise ValueError(f"command {self.name!r}: low must be below high, got {self.low} and {self.high}")
        if self.lead <= 0:
            raise ValueError(f"command {self.name!r}: lead must be above 0, got {self.lead}")


@dataclass(frozen=True)
class Target:
    """A state number that a servo brings to the absolute position that is commanded."""

    name: str
    """State number."""
    action: int
    """Which of a command's numbers is its target, in the state's unit."""

    def __post_init__(self) -> None:
        check_whole(f"target {self.name!r}: action", self.action, 0)


@dataclass(frozen=True)
class StateConfig:
    """The state that conditions a world model, and the network that predicts the next one."""

    names: tuple[str, ...]
    """Numbers of the state, by the names that the dataset's ``state_names`` has."""
    commands: tuple[Command, ...] = ()
    """State numbers that are computed from the action, not learned."""
    width: int = 256
    """Of the layers of the network that predicts the next state."""
    layers: int = 4
    frequencies: int = 4
    """Sines and cosines of each number that the network sees besides it; contact is decided by millimetres."""
    commands_per_frame: int = 1
    """Commands between two frames that are followed one by one, each time knowing how the state has just changed:
    contact comes in small steps, and a servo lags.  With 1 all of them are followed at once, from the state alone."""
    targets: tuple[Target, ...] = ()
    """Where commands are followed one by one: which state numbers are brought to a commanded position."""
    derived: tuple[str, ...] = ()
    """Where commands are followed one by one: numbers that ``targets`` alone decide, such as the tool's place."""
    object_frames: bool = False
    """Derived places are also told as they lie from an object that is turned, in the directions of its sides, where the
    state has its ``.x``, ``.y`` and ``.yaw`` (degrees): jaws that meet a corner do not hold."""
    pose_map: PoseMapConfig | None = None
    """Robot and objects drawn as lines where camera and kinematics are known.  Where they are not, the network draws
    a map of its own from the state (``unet.learned_map``)."""

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"state: expected different names, found {self.names}")
        joints = () if self.pose_map is None else self.pose_map.joints
        used = [(name, "pose_map") for name in joints]
        for command in self.commands:
            used += [(command.name, "commands"), (command.measured, "commands")]
        used += [(target.name, "targets") for target in self.targets]
        used += [(name, "derived") for name in self.derived]
        for name, place in used:
            if name not in self.names:
                known = ", ".join(self.names)
                raise ValueError(
                    f"state.{place} uses {name!r}, which is not a number of the state; there are {known}"
                )
        check_sizes(self, "width", within="state.")
        check_sizes(self, "layers", "commands_per_frame", high=1024, within="state.")
        check_sizes(self, "frequencies", low=0, high=16, within="state.")
        if self.derived and not self.targets:
            raise ValueError("state.derived needs state.targets, the numbers that decide it")
        if self.commands and self.commands_per_frame > 1:
            raise ValueError(
                "state.commands are displacements of a whole frame; expected commands_per_frame 1"
            )

    def check_actions(self, numbers: int) -> None:
        """ValueError unless an action of so many numbers (all those of a frame) has the ones that are commanded."""
        if numbers % self.commands_per_frame:
            raise ValueError(
                f"state.commands_per_frame is {self.commands_per_frame}, and {numbers} numbers of a frame's action are "
                "no whole multiple of that"
            )
        each = numbers // self.commands_per_frame
        for place, items in (("commands", self.commands), ("targets", self.targets)):
            for item in items:
                if item.action >= each:
                    raise ValueError(
                        f"state.{place}: {item.name!r} follows number {item.action} of an action, which has numbers 0 "
                        f"to {each - 1}"
                    )

    def index(self, name: str) -> int:
        """Where a number lies in the state."""
        return self.names.index(name)
