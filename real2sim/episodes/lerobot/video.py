"""Chosen frames of a video, decoding as little as their groups of pictures allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def frames_at(
    path: Path, times: Sequence[float], size: tuple[int, int] | None = None, tolerance: float = 1e-4
) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """The frames shown at ``times`` (seconds, rising), uint8 (h w 3), with their size in the file (h w).

    With ``size`` they are resized by averaging over areas.  A group of pictures without a wanted frame is not
    decoded, so every tenth frame of a video with a key frame at every second one costs a fifth of all.

    Raises ValueError for a file that is no video, and where no frame lies within ``tolerance`` seconds (or one
    tick of the file's clock) of a time.
    """
    import av

    found, first = 0, 0.0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} holds no video; download it again")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ValueError(
                    f"{path} cannot be read as video (what its frames are encoded with is not known); download it again"
                )
            if stream.start_time is not None and stream.time_base is not None:
                first = float(stream.start_time * stream.time_base)
            for time, picture, shape in _decoded(container, times, tolerance, size, path):
                if abs(time - times[found]) > tolerance:
                    break
                found += 1
                yield picture, shape
    except (av.FFmpegError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read as video ({error.strerror or error}); download it again"
        ) from error
    if not found and times and times[0] < first - tolerance:
        raise ValueError(
            f"{path} has no frame at {times[0]:.4f} s, where the dataset's metadata expects one: its first frame is "
            f"shown at {first:.4f} s; write the video anew with timestamps from 0"
        )
    if found < len(times):
        raise ValueError(
            f"{path} has no frame at {times[found]:.4f} s, where the dataset's metadata expects one; "
            "the video is shorter, damaged or has another rate, download it again"
        )


def _decoded(
    container: Any, times: Sequence[float], tolerance: float, size: tuple[int, int] | None, place: Path
) -> Iterator[tuple[float, np.ndarray, tuple[int, int]]]:
    """Wanted frames as (wanted time, picture, size in the file); those that the file does not have are missing."""
    from av.video.reformatter import Interpolation, VideoReformatter

    # Without interpolated chroma, resized frames are one to two grey levels too dark.
    method = Interpolation.AREA | getattr(Interpolation, "FULL_CHR_H_INT", Interpolation.AREA)
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    tick = float(stream.time_base)
    near = max(tolerance, 1.01 * tick)
    wanted = np.asarray(times, np.float64)
    reformatter = VideoReformatter()
    following, damaged = 0, False
    for frame in _frames_of_groups(container, stream, wanted, near):
        if frame.pts is None:
            continue
        time = frame.pts * tick
        # What refers to a damaged picture is damaged as well, up to the next key frame.
        damaged = frame.is_corrupt or (damaged and not frame.key_frame)
        while following < len(wanted) and wanted[following] < time - near:
            # Passed without a frame: the caller notices.
            following += 1
        if following < len(wanted) and abs(time - wanted[following]) <= near:
            if damaged:
                raise ValueError(
                    f"{place} has a damaged picture at {time:.4f} s or shortly before; download it again"
                )
            height, width = size or (frame.height, frame.width)
            resizing = {} if (height, width) == (frame.height, frame.width) else {"interpolation": method}
            picture = reformatter.reformat(frame, width, height, "rgb24", **resizing).to_ndarray()
            yield float(wanted[following]), picture, (frame.height, frame.width)
            following += 1
            if following == len(wanted):
                return


def _frames_of_groups(container: Any, stream: Any, wanted: np.ndarray, near: float) -> Iterator[Any]:
    """Decoded frames of the groups of pictures that hold a wanted time, from a key frame on."""
    decoder, tick = stream.codec_context, float(stream.time_base)
    skipped: list[Any] = []
    running = False
    for group in _groups(container, stream, float(wanted[0])):
        shown = np.array([packet.pts * tick for packet in group])
        places = np.searchsorted(wanted, shown - near)
        hits = (places < len(wanted)) & (np.abs(wanted[np.minimum(places, len(wanted) - 1)] - shown) <= near)
        if not hits.any():
            if running:
                yield from _drained(decoder)
            running, skipped = False, group
            if shown.min() > wanted[-1] + near:
                return
            continue
        if not running and (shown[hits] < shown[0]).any():
            # Pictures shown before the key frame of their group may refer to the group before it.
            for packet in skipped:
                yield from decoder.decode(packet)
        last = int(np.flatnonzero(hits)[-1])
        for packet in group[: last + 1]:
            yield from decoder.decode(packet)
        running, skipped = last == len(group) - 1, []
        if not running:
            yield from _drained(decoder)
            skipped = group
    if running:
        yield from _drained(decoder)


def _drained(decoder: Any) -> Iterator[Any]:
    yield from decoder.decode(None)
    decoder.flush_buffers()


def _groups(container: Any, stream: Any, first: float) -> Iterator[list[Any]]:
    """Packets from the last key frame that is shown no later than ``first`` seconds, one list per group."""
    for earlier in (0.0, 2.0, first + 1):
        container.seek(max(0, int((first - earlier) / stream.time_base)), stream=stream, backward=True)
        packets = (packet for packet in container.demux(stream) if packet.pts is not None and packet.size)
        group = [next(packets, None)]
        if group[0] is not None and group[0].pts * stream.time_base <= first + 1e-4:
            break
    if group[0] is None:
        return
    for packet in packets:
        if packet.is_keyframe:
            yield group
            group = []
        group.append(packet)
    yield group
