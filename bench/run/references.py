"""Reference rows that need the truth. The harness computes them from the EvalView; no learner is handed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from bench.api import Data, NotApplicable, learner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Codes = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]], NDArray[np.floating[Any]] | None]


MOST_COLUMNS = 0.05
"""Columns of x a sample up to which plain least squares is a fair bound."""


class Reference(Protocol):
    """Codes of the training, held-out and independent samples, made with knowledge of the truth."""

    def codes(self, data: Data, *, seed: int) -> Codes: ...


@learner(
    "oracle",
    guarantee="permutation+scaling",
    paper="reference",
    needs=("truth",),
    reference=True,
    accepts=("vector", "image", "sequence", "graph"),
)
class Oracle:
    """The true latents themselves: the top of every scale."""

    def codes(self, data: Data, *, seed: int) -> Codes:
        train, test = _truth(data)
        return train, test, data.eval.z_independent


@learner(
    "best-linear",
    guarantee="permutation+scaling",
    assumes=("linear-mixing",),
    paper="reference",
    needs=("truth",),
    reference=True,
    version=2,
    accepts=("vector", "image", "sequence", "graph"),
)
class BestLinear:
    """Least-squares unmixing fitted with the true latents: what a linear map of x (its flat view) can reach at most.

    Where x has more than a twentieth as many columns as there are samples (images), with the ridge that generalised
    cross-validation takes: the plain solution follows the training samples, and on others it is no bound of anything.
    """

    def codes(self, data: Data, *, seed: int) -> Codes:
        import numpy as np

        from bench.toolkit.inputs import flat

        z_train, _ = _truth(data)
        x = np.asarray(flat(data.train.x), dtype=np.float64)
        mean, scale = x.mean(0), x.std(0)
        scale = np.where(scale > 1e-12 * np.maximum(1.0, np.abs(mean)), scale, np.inf)  # constant columns drop out
        standard, z = (x - mean) / scale, z_train - z_train.mean(0)
        if x.shape[1] > MOST_COLUMNS * len(x):
            weights = cross_validated_ridge(standard, z)
        else:
            # the minimum-norm solution: x may have more columns than rank, and directions below the rounding of its
            # float32 values are noise
            weights = np.linalg.lstsq(standard, z, rcond=1e-6)[0]

        def unmix(inputs: Any) -> NDArray[np.floating[Any]]:
            standardised = (np.asarray(flat(inputs), dtype=np.float64) - mean) / scale
            codes: NDArray[np.floating[Any]] = standardised @ weights + z_train.mean(0)
            return codes

        independent = None if data.eval.x_independent is None else unmix(data.eval.x_independent)
        return unmix(x), unmix(data.eval.x_test), independent


def cross_validated_ridge(x: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (p, d) of the ridge regression of centred z (n, d) on centred x (n, p) that generalised cross-validation
    (Golub, Heath, Wahba 1979) takes among penalties of 1e-6 to 10 times the mean variance of a column."""
    import numpy as np

    n = len(x)
    e, v = np.linalg.eigh(x.T @ x / n)
    e = np.maximum(e, 0.0)
    cross = v.T @ (x.T @ z / n)
    best: tuple[float, NDArray[np.float64]] = (np.inf, np.zeros((x.shape[1], z.shape[1])))
    for ridge in np.logspace(-6, 1, 15) * float(e.mean()):
        weights = cross / (e + ridge)[:, None]
        error = np.square(z).mean(0) - 2 * (cross * weights).sum(0) + (e[:, None] * np.square(weights)).sum(0)
        free = 1.0 - float((e / (e + ridge)).sum()) / n
        score = float((error / np.square(z).mean(0)).mean()) / max(free, 1e-9) ** 2
        if score < best[0]:
            best = score, v @ weights
    return best[1]


@learner(
    "random-unmixing",
    guarantee="none",
    paper="reference",
    needs=("truth",),
    reference=True,
    accepts=("vector", "image", "sequence", "graph"),
)
class RandomUnmixing:
    """A random rotation of the standardised true latents: linearly perfect, its MCC the chance level of mixing."""

    def codes(self, data: Data, *, seed: int) -> Codes:
        import numpy as np
        from scipy.stats import ortho_group

        z_train, z_test = _truth(data)
        mean, scale = z_train.mean(0), z_train.std(0)
        width = z_train.shape[1]
        rotation = ortho_group.rvs(width, random_state=np.random.default_rng(seed)) if width > 1 else np.ones((1, 1))
        independent = data.eval.z_independent
        return (
            (z_train - mean) / scale @ rotation,
            (z_test - mean) / scale @ rotation,
            None if independent is None else (independent - mean) / scale @ rotation,
        )


@learner(
    "posterior-mean",
    summary="the best estimate of the factors from x, made with the true mixing and noise: the ceiling as a row",
    guarantee="permutation+scaling",
    paper="reference",
    needs=("truth",),
    reference=True,
    accepts=("sequence",),
)
class PosteriorMean:
    """The ceiling of the data, E[z | x], as codes."""

    def codes(self, data: Data, *, seed: int) -> Codes:
        truth = data.eval
        if truth.ceiling_train is None or truth.ceiling_test is None:
            raise NotApplicable("the data has no ceiling below the factors themselves; see oracle")
        return truth.ceiling_train, truth.ceiling_test, truth.ceiling_independent


@learner(
    "sufficient-statistic",
    summary="all that the observations say of the factors, before the prior: the mean of white Gaussian readings",
    guarantee="linear",
    paper="reference",
    needs=("truth",),
    reference=True,
    accepts=("sequence",),
    defaults={"name": "sufficient-statistic"},
)
@learner(
    "task-log-odds",
    summary="exact posterior log odds of every task: what optimal answers are, one by one",
    guarantee="linear",
    paper="reference; Vafidis, Bhargava, Rangel 2024",
    needs=("truth",),
    reference=True,
    accepts=("sequence",),
    defaults={"name": "task-log-odds"},
)
@learner(
    "erm",
    summary="features of a network trained on the few-shot tasks' classes, where another factor follows the class",
    guarantee="none",
    paper="reference; empirical risk minimisation as in Sagawa et al. 2020, ICLR",
    needs=("truth",),
    reference=True,
    accepts=("image",),
    defaults={"name": "erm"},
)
class Named:
    """Codes that the dataset makes from the truth under a name (``EvalView.oracles``)."""

    def __init__(self, *, name: str = "sufficient-statistic") -> None:
        self.name = name

    def codes(self, data: Data, *, seed: int) -> Codes:
        if self.name not in data.eval.oracles:
            raise NotApplicable(f"the data has no {self.name}")
        train, test, *independent = data.eval.oracles[self.name]()
        return train, test, independent[0] if independent else None


def _truth(data: Data) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    if data.eval.z_train is None or data.eval.z_test is None:
        raise NotApplicable("needs the true latents, which are not known here")
    return data.eval.z_train, data.eval.z_test
