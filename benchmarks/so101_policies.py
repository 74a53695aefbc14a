"""Policies of the SO-101 that are not shipped and that no world model was developed with: an independent test.

    real2sim rollout --suite so101 --policies pixels=benchmarks/so101_policies.py:pixels ... --out runs/held-out

Controllers that act on pixels, and policies that recall or regress on the demonstrations in ``data/demonstrations``.
The first ten were looked at after the world model of November 2026 had been measured with them; those of the second ten
are for the one after it.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.so101_controllers import Manner, PixelController
from benchmarks.so101_learned import Filters, Nearest, Replayed


def _controller(manner: Manner) -> Callable[[], PixelController]:
    return lambda: PixelController(manner)


pixels = _controller(Manner())
once = _controller(Manner(looks=False))
beside = _controller(Manner(aim=(0.0, 0.014)))
before = _controller(Manner(aim=(-0.016, -0.004)))
slow = _controller(Manner(speed=0.075))
noisy = _controller(Manner(noise=0.008))
turned = _controller(Manner(turn=0.0))


def nearest() -> Nearest:
    """The three most alike of all demonstrations."""
    return Nearest()


def nearest_few() -> Nearest:
    """The most alike of 60 demonstrations."""
    return Nearest(1, 60)


def filters() -> Filters:
    """Ridge regression on all demonstrations."""
    return Filters()


quick = _controller(Manner(speed=0.24, turn=-55.0, noise=0.010))
high = _controller(Manner(low=0.034, turn=20.0))
aslant = _controller(Manner(turn=-20.0, speed=0.2))
late = _controller(Manner(late=2, speed=0.1, turn=50.0))
again = _controller(Manner(turn=10.0, again=True, noise=0.003))
gentle = _controller(Manner(grip=12.0, turn=25.0, aim=(0.007, 0.009)))
off = _controller(Manner(turn=60.0, aim=(0.018, -0.016)))


def replayed() -> Replayed:
    """The demonstration that begins most alike."""
    return Replayed()


def nearest_pixels() -> Nearest:
    """The eight most alike of all demonstrations, by their pixels alone."""
    return Nearest(8, joints=0.0)


def linear() -> Filters:
    """Ridge regression on pixels and joints of 150 demonstrations."""
    return Filters(width=0, ridge=100.0, episodes=150)
