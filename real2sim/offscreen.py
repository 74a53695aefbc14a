"""Renderers of MuJoCo that can be freed while others draw."""

from __future__ import annotations

from typing import Any


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
