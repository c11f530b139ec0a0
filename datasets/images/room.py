"""A room with an object in its middle, seen by a camera that goes round it: after 3D Shapes (Burgess & Kim 2018).

The projection is orthographic, from above at a fixed tilt. Every solid is then known by three curves over the image's
columns (where it begins, where it ends, where its top face begins), so that no ray is cast per pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.images.colour import rgb

Pixels = NDArray[Any]

FACTORS = ("floor", "wall", "object", "size", "azimuth")
SHAPES = ("cube", "cylinder", "sphere", "capsule")
BLOCK = 64
TILT = 0.45  # sine of the camera's height: how much of a horizontal surface is seen
TURN = np.pi / 6  # the camera goes this far to either side
HALF_WIDTH = (0.11, 0.20)  # of the object, over the image's side
SUBCOLUMNS = (-1 / 3, 0.0, 1 / 3)  # curves are steep at an object's sides, so columns are averaged over three places


def render_room(z: NDArray[Any], shape: NDArray[np.integer[Any]], *, side: int = 32) -> NDArray[np.uint8]:
    """Images (n, 3, side, side) of factors z (n, 5) in [-1, 1], in the order of ``FACTORS``; shape (n,) as ``SHAPES``.

    The back corner of the room is seen where the azimuth puts it, its two walls in different light. A cube turns with
    the azimuth; the other solids look the same from all sides.
    """
    z = np.asarray(z, dtype=np.float32)
    pixels = np.empty((len(z), 3, side, side), dtype=np.uint8)
    floor, wall, front = 255 * rgb(z[:, 0], value=0.75), 255 * rgb(z[:, 1], value=0.9), 255 * rgb(z[:, 2])
    half = (HALF_WIDTH[0] + (z[:, 3] + 1) / 2 * (HALF_WIDTH[1] - HALF_WIDTH[0]))[:, None]
    turn = (z[:, 4] * np.float32(TURN))[:, None]
    columns = ((np.arange(side, dtype=np.float32) + 0.5) / side - np.float32(0.5))[None]
    height = (np.float32(0.5) - (np.arange(side, dtype=np.float32) + 0.5) / side)[None, :, None]
    for rows in np.split(np.arange(len(z)), range(BLOCK, len(z), BLOCK)):
        edge, light = _walls(turn[rows], columns)
        on_floor = _below(edge, height, side)[:, None]
        ground = floor[rows, :, None, None]
        lit = wall[rows, :, None] * light[:, None]
        scene = lit[:, :, None, :] + (ground - lit[:, :, None, :]) * on_floor
        body, top, shade = _object(shape[rows], half[rows], turn[rows], columns, height, side)
        colour = front[rows, :, None, None] * (shade[:, None, None, :] * (1 - top[:, None]) + top[:, None])
        scene += (colour - scene) * body[:, None]
        pixels[rows] = scene + np.float32(0.5)
    return pixels


def _below(curve: Pixels, height: Pixels, side: int) -> Pixels:
    """How much of each pixel (n, h, w) lies below the curve (n, w), the pixel's height being the unit."""
    return np.clip((curve[:, None, :] - height) * side + np.float32(0.5), 0, 1)


def _walls(turn: Pixels, columns: Pixels) -> tuple[Pixels, Pixels]:
    """Height (n, w) at which the floor ends, and light (n, w) on the wall above: two planes that meet in a corner."""
    corner = np.float32(0.45) * np.sin(turn)
    left, right = np.float32(np.pi / 4) - turn, np.float32(np.pi / 4) + turn
    away = columns - corner
    slope = np.where(away < 0, -np.tan(left * np.float32(0.8)), np.tan(right * np.float32(0.8)))
    edge = np.float32(0.2) - np.float32(TILT) * slope * away
    return edge, np.where(away < 0, np.float32(0.7) + 0.3 * np.sin(left), np.float32(0.7) + 0.3 * np.sin(right) * 0.5)


def _object(
    shape: NDArray[np.integer[Any]], half: Pixels, turn: Pixels, columns: Pixels, height: Pixels, side: int
) -> tuple[Pixels, Pixels, Pixels]:
    """Cover of the body (n, h, w), of its top face (n, h, w), and the light (n, w) on its side."""
    body: Any = 0.0
    top: Any = 0.0
    shade: Any = 0.0
    for offset in SUBCOLUMNS:
        low, high, rim, inside, light = _curves(shape[:, None], half, turn, columns + np.float32(offset / side))
        seen = inside[:, None, :] * _below(high, height, side)
        # a body ends where its lower curve begins; the top face is what lies above the rim
        body = body + seen * (1 - _below(low, height, side))
        top = top + seen * (1 - _below(rim, height, side))
        shade = shade + light
    weight = np.float32(1 / len(SUBCOLUMNS))
    return body * weight, top * weight, shade * weight


def _curves(shape: NDArray[Any], half: Pixels, turn: Pixels, u: Pixels) -> tuple[Pixels, ...]:
    """Lower curve, upper curve, rim of the top face, inside (0 or 1) and light, each (n, w), over the columns u."""
    tilt, rise = np.float32(TILT), np.float32((1 - TILT**2) ** 0.5)
    across = u / half
    round_ = np.sqrt(np.clip(1 - np.square(across), 0, None)) * half
    # a square of half side s, turned by a: |u cos a + q sin a| <= s and |q cos a - u sin a| <= s bound the depth q
    angle = turn + np.float32(np.pi / 4)
    c, s, side = np.cos(angle), np.sin(angle), half * np.float32(0.8)
    front = np.minimum((side - u * c) / s, (side + u * s) / c)
    back = np.minimum((side + u * c) / s, (side - u * s) / c)
    cube, cylinder, sphere = shape == 0, shape == 1, shape == 2
    depth_front, depth_back = np.where(cube, front, round_), np.where(cube, back, round_)
    tall = np.where(cube, 1.3 * half, 1.7 * half) * rise
    base = -np.float32(0.12) - half * np.float32(0.5)
    flat = cube | cylinder
    low = base - np.where(flat, tilt * depth_front, 0)
    rim = base + tall - tilt * depth_front
    high = base + tall + tilt * depth_back
    middle = base + half
    low = np.where(flat, low, middle - round_)
    high = np.where(flat, high, middle + round_ + np.where(sphere, 0, half))
    rim = np.where(flat, rim, high + 1)
    inside = np.where(cube, (front + back) > 0, np.abs(across) < 1).astype(np.float32)
    corner = np.where(across * half < side * (c - s), np.float32(0.85), np.float32(0.55))
    light = np.where(cube, corner, np.float32(0.4) + np.float32(0.5) * round_ / half)
    return low, high, rim, inside, light
