"""Exact log odds of classification by lines through the origin, for two independent factors.

P(c · x* > 0 | readings) is an integral over half of the square [−½, ½]². In polar coordinates every line through the
origin is a pair of directions: the mass of each sector between neighbouring directions is found once, by Gauss-Legendre
quadrature, and both sides of every line are sums of sectors. All terms are positive: odds of any size keep
their digits.
"""

from __future__ import annotations

import numpy as np

from .posterior import Array, Likelihood

_CHUNK = 8_000_000  # values


def task_log_odds(likelihood: Likelihood, normals: Array) -> Array:
    """log P(c_i · x* > 0) − log P(c_i · x* < 0), (n, T), for normals (T, 2) of lines and uniform factors."""
    across = np.arctan2(normals[:, 1], normals[:, 0]) + np.pi / 2  # direction of the line, half-plane to its right
    corners = np.pi / 4 + np.arange(4) * np.pi / 2
    edges = np.unique(np.round(np.concatenate([across, across + np.pi, corners]) % (2 * np.pi), 12))
    edges = np.append(edges, edges[0] + 2 * np.pi)
    angles, angle_weights = _panels(edges, likelihood.width)
    reach = 0.5 / np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles)))
    radii, radius_weights = _legendre(_nodes(1.0, likelihood.width))
    r = reach[..., None] * radii  # (sectors, nodes, radial nodes)
    weight = (angle_weights * reach)[..., None] * radius_weights * r
    x, y = (r * np.cos(angles)[..., None]).ravel(), (r * np.sin(angles)[..., None]).ravel()

    n, sectors = len(likelihood.statistic), len(edges) - 1
    mass = np.empty((n, sectors))
    for start in range(0, n, rows := max(1, _CHUNK // len(x))):
        part = slice(start, start + rows)
        log = likelihood[part].log(0, x) + likelihood[part].log(1, y)
        density = np.exp(log - log.max(axis=1, keepdims=True)) * weight.ravel()
        mass[part] = density.reshape(len(density), sectors, -1).sum(axis=2)
    middle = 0.5 * (edges[1:] + edges[:-1])
    positive = np.column_stack([np.cos(middle), np.sin(middle)]) @ normals.T > 0  # (sectors, T)
    tiny = np.finfo(np.float64).tiny
    return np.asarray(np.log(mass @ positive + tiny) - np.log(mass @ ~positive + tiny))


def _nodes(length: float, width: float) -> int:
    """Quadrature nodes on a path of this length that resolve a Gaussian of this width."""
    return max(6, int(np.ceil(1.5 * length / width)))


def _legendre(n: int) -> tuple[Array, Array]:
    """Nodes and weights (n,) on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1), 0.5 * weights


def _panels(edges: Array, width: float) -> tuple[Array, Array]:
    """Nodes and weights (panels, nodes) of a rule on each panel between neighbouring edges."""
    length = np.diff(edges)[:, None]
    nodes, weights = _legendre(_nodes(float(length.max()), width))
    return edges[:-1, None] + length * nodes, length * weights
