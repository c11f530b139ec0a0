"""L-BFGS from the origin of well-scaled coordinates, stopped by the gradient: what both likelihoods of stage 2 use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

Float = NDArray[np.float64]
Objective = Callable[[Float], tuple[float, Float]]
"""Value and gradient at u; the value is inf where u leaves the parameters' range."""

_MEMORY = 20
_OUT_OF_RANGE = 1e6  # above the first value, in place of inf: the line search interpolates values, and cannot with inf


@dataclass(frozen=True)
class Descent:
    """u           (size,) where it ended
    values      the objective at the origin and after every accepted step, never increasing
    converged   is ½ |g|² below the tolerance at u?
    """

    u: Float
    values: tuple[float, ...]
    converged: bool


def descend(objective: Objective, size: int, *, tolerance: float, steps: int, at_least_one: bool = False) -> Descent:
    """Minimise from u = 0 until ½ |g|² is below the tolerance, or for so many steps.

    With a Hessian near the identity ½ |g|² is what a Newton step would gain. L-BFGS-B's own criteria, a small step or
    a small change, are off: both are met on plateaus too.

    at_least_one   step even where the gradient at the origin is small already
    """
    origin = np.zeros(size)
    first, gradient = objective(origin)
    values = [first]

    def small() -> bool:
        return bool(0.5 * gradient @ gradient < tolerance)

    def noted(u: Float) -> tuple[float, Float]:
        nonlocal gradient
        value, gradient = objective(u)
        if not np.isfinite(value):
            value, gradient = first + _OUT_OF_RANGE, np.nan_to_num(gradient, posinf=0.0, neginf=0.0)
        return value, gradient

    def accepted(intermediate_result: OptimizeResult) -> None:
        values.append(float(intermediate_result.fun))
        if small():  # of the step just accepted, which was evaluated last
            raise StopIteration

    if small() and not at_least_one:
        return Descent(origin, (first,), True)
    result = minimize(
        noted,
        origin,
        jac=True,
        method="L-BFGS-B",
        callback=accepted,
        options={"maxiter": steps, "maxcor": _MEMORY, "ftol": 0.0, "gtol": 0.0, "maxfun": 2 * steps},
    )
    noted(result.x)
    return Descent(np.asarray(result.x, dtype=np.float64), tuple(values), small())
