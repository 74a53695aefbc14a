"""MuJoCo drawing without a screen: its import, and renderers that can be freed while others draw."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any


def import_mujoco(what: str, extra: str) -> Any:
    """The module ``mujoco``, set up to draw in software unless ``MUJOCO_GL`` says otherwise.

    Raises ImportError, in which ``what`` needs the package's ``extra``, where it is not installed.
    """
    os.environ.setdefault("MUJOCO_GL", "osmesa")
    import_triton_first()
    try:
        import mujoco
    except ImportError as error:
        raise ImportError(f"{what} needs the extra {extra!r}: pip install 'real2sim[{extra}]'") from error
    return mujoco


def import_triton_first() -> None:
    """Import Triton, which PyTorch's builds for GPUs bring, before MuJoCo loads Mesa's software renderer.

    Each has an LLVM of its own.  Triton after Mesa, which is the order when PyTorch imports Triton late, is a
    segmentation fault; Mesa after Triton works.
    """
    if os.environ.get("MUJOCO_GL") == "osmesa" and "mujoco" not in sys.modules:
        # Whatever is wrong with it, PyTorch would have met it.
        with contextlib.suppress(Exception):
            import triton  # noqa: F401


def offscreen_renderer(model: Any, height: int, width: int) -> Any:
    """A ``mujoco.Renderer`` whose end leaves the pictures of other renderers as they are.

    MuJoCo destroys a renderer's OpenGL context before it frees what was made in it, so the calls reach the context that
    happens to be current, which may belong to another renderer: that one draws garbage from then on.  Here they are
    made in the renderer's own context.
    """
    import mujoco

    class OffscreenRenderer(mujoco.Renderer):
        _mjr_context: Any

        def close(self) -> None:
            if self._gl_context and self._mjr_context:
                self._gl_context.make_current()
                self._mjr_context.free()
                self._mjr_context = None
            super().close()

    return OffscreenRenderer(model, height, width)
