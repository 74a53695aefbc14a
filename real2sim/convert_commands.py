"""The commands of the command line that turn other projects' files into folders of this one."""

from __future__ import annotations

from collections.abc import Sequence

from real2sim.arguments import parse as _parse


def convert_vid2world(arguments: Sequence[str]) -> None:
    """Turn a published Vid2World checkpoint into a folder of safetensors."""
    from real2sim.vid2world.released.convert import ConvertVid2World

    print(f"world model: {_parse(ConvertVid2World, 'convert vid2world', arguments).run()}")


def convert_dynamicrafter(arguments: Sequence[str]) -> None:
    """Turn DynamiCrafter-512 into an untrained world model with causal weights."""
    from real2sim.vid2world.released.convert import ConvertDynamiCrafter

    print(f"untrained world model: {_parse(ConvertDynamiCrafter, 'convert dynamicrafter', arguments).run()}")


def convert_lerobot(arguments: Sequence[str]) -> None:
    """Turn a LeRobot dataset (v2.0, v2.1, v3.0) into a dataset folder."""
    from real2sim.episodes.lerobot.convert import ConvertLeRobot
    from real2sim.episodes.lerobot.convert import convert_lerobot as convert

    config = _parse(ConvertLeRobot, "convert lerobot", arguments)
    print(f"{convert(config)} episodes in {config.out}")


def convert_rlds(arguments: Sequence[str]) -> None:
    """Turn an RLDS dataset such as those of Open X-Embodiment into a dataset folder."""
    from real2sim.episodes.rlds.convert import ConvertRLDS
    from real2sim.episodes.rlds.convert import convert_rlds as convert

    config = _parse(ConvertRLDS, "convert rlds", arguments)
    print(f"{convert(config)} episodes in {config.out}")


def convert_rt1(arguments: Sequence[str]) -> None:
    """Turn a published RT-1 checkpoint or SavedModel into a policy folder (extra [tf])."""
    from real2sim.policies.rt1.convert import ConvertRT1
    from real2sim.policies.rt1.convert import convert_rt1 as convert

    print(f"policy: {convert(_parse(ConvertRT1, 'convert rt1', arguments))}")


def convert_embeddings(arguments: Sequence[str]) -> None:
    """Collect the sentence embedding of each instruction from an RLDS dataset."""
    from real2sim.policies.rt1.embeddings import ConvertEmbeddings
    from real2sim.policies.rt1.embeddings import convert_embeddings as convert

    config = _parse(ConvertEmbeddings, "convert embeddings", arguments)
    print(f"{convert(config)} instructions in {config.out}")
