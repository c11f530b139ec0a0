"""Sprites: one shape on a plain ground, rendered from signed distances with edges one pixel wide.

A family in the manner of dSprites (Matthey et al. 2017) that needs no download: factors are continuous, colours are
factors, and the renderer is vectorised. Everything happens in the shape's own coordinates, in which its radius is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.images.colour import rgb

Pixels = NDArray[Any]

FACTORS = ("scale", "x", "y", "hue", "background")
SHAPES = ("square", "ellipse", "heart", "triangle")
BLOCK = 64  # images rendered at a time: their pixels stay in the processor's cache
RADIUS = (0.10, 0.20)  # of the image's side, at scale -1 and 1
REACH = 0.26  # how far the centre moves from the middle, so that every shape stays inside


def _square(u: Pixels, v: Pixels) -> Pixels:
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.85)


def _ellipse(u: Pixels, v: Pixels) -> Pixels:
    """Half axes 1.15 and 0.7: first-order distance, the implicit function over the length of its gradient."""
    a, b = np.float32(1.15), np.float32(0.7)
    radius = np.sqrt(np.square(u / a) + np.square(v / b))
    slope = np.sqrt(np.square(u / a**2) + np.square(v / b**2))
    return radius * (radius - 1) / np.maximum(slope, np.float32(1e-6))


def _heart(u: Pixels, v: Pixels) -> Pixels:
    """A square on its corner with a disc on each upper edge."""
    s = np.float32(0.95)
    u, v = np.abs(u) / s, v / s + np.float32(0.1)
    corner = (u + np.abs(v) - 1) * np.float32(0.5**0.5)
    disc = np.sqrt(np.square(u - np.float32(0.5)) + np.square(v - np.float32(0.5))) - np.float32(0.5**0.5)
    return np.minimum(corner, disc) * s


def _triangle(u: Pixels, v: Pixels) -> Pixels:
    """Equilateral, its corners at distance 1.2."""
    sides = np.abs(u) * np.float32(0.75**0.5) + v * np.float32(0.5)
    return np.maximum(sides, -v) - np.float32(0.6)


_DISTANCE: tuple[Callable[[Pixels, Pixels], Pixels], ...] = (_square, _ellipse, _heart, _triangle)


def render_sprites(
    z: NDArray[Any], shape: NDArray[np.integer[Any]], *, side: int = 32, angle: NDArray[Any] | None = None
) -> NDArray[np.uint8]:
    """Images (n, 3, side, side) of factors z (n, 5) in [-1, 1], in the order of ``FACTORS``.

    shape   (n,) indices into ``SHAPES``
    angle   (n,) radians by which shapes are turned; None: all upright
    """
    pixels = np.empty((len(z), 3, side, side), dtype=np.uint8)
    z = np.asarray(z, dtype=np.float32)
    radius = RADIUS[0] + (z[:, 0] + 1) / 2 * (RADIUS[1] - RADIUS[0])
    front = 255 * rgb(z[:, 3])
    ground = 255 * rgb(z[:, 4], saturation=0.7, value=0.5)
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side - np.float32(0.5)
    for kind, distance in enumerate(_DISTANCE):
        of_kind = np.flatnonzero(shape == kind)
        for rows in np.split(of_kind, range(BLOCK, len(of_kind), BLOCK)):
            r = radius[rows, None, None]
            # upright shapes: u varies along rows and v along columns alone, until the distance joins them
            u = (axis[None, None, :] - np.float32(REACH) * z[rows, 1, None, None]) / r
            v = (-axis[None, :, None] - np.float32(REACH) * z[rows, 2, None, None]) / r
            if angle is not None:
                c, s = (f(angle[rows]).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
                u, v = c * u + s * v, c * v - s * u
            cover = np.clip(np.float32(0.5) - distance(u, v) * (r * side), 0, 1)
            step = (front - ground)[rows, :, None, None]
            pixels[rows] = ground[rows, :, None, None] + step * cover[:, None] + np.float32(0.5)
    return pixels
