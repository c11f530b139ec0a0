"""Statistics over seeds: intervals of a mean, of a paired difference, of agreement across seeds.

The unit is a seed. A score is known by its (data seed, model seed); how many of each there are, and whether the
same model seeds were used on every data seed, decides which interval is right. ``seed_interval`` reads that design
from the scores' names and says which method it used. What each interval covers is simulated in
``bench.statistics.coverage``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Seeds = tuple[Any, Any]
"""(data seed, model seed) of a score; any names will do, what counts is which are equal."""

FEW = 10
"""Below so many data seeds (crossed designs: or model seeds) resampling knows too few values; then Student's t."""

DRAWS = 4999
"""Bootstrap draws: (DRAWS + 1) times 0.025 is whole, so that no quantile is interpolated."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; ``half`` is None where one value allows no interval.

    half     half-width; of an interval that is not symmetric the longer side
    n        number of independent units it rests on
    method   how it was made and from what, in words
    bounds   (low, high) of an interval that is not symmetric about the mean
    error, freedom   standard error of the mean and its degrees of freedom; None where one value knows neither
    """

    mean: float
    half: float | None
    n: int
    method: str = ""
    bounds: tuple[float, float] | None = None
    error: float | None = None
    freedom: float | None = None

    @property
    def low(self) -> float | None:
        return self._bound(0, -1.0)

    @property
    def high(self) -> float | None:
        return self._bound(1, 1.0)

    def negated(self) -> Interval:
        """The interval of minus the quantity."""
        bounds = None if self.bounds is None else (-self.bounds[1], -self.bounds[0])
        return replace(self, mean=-self.mean, bounds=bounds)

    def covers(self, value: float) -> bool:
        """Is the value inside? True where there is no interval: nothing is excluded then."""
        return self.low is None or self.high is None or self.low <= value <= self.high

    def _bound(self, side: int, sign: float) -> float | None:
        if self.bounds is not None:
            return self.bounds[side]
        return None if self.half is None else self.mean + sign * self.half


def t_interval(values: Sequence[float], level: float = 0.95, method: str = "") -> Interval:
    """Student's t interval of the mean of independent values, one a seed.

    Raises ValueError for no values.
    """
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("an interval needs at least one value")
    method = method or f"t, {array.size} seeds"
    if array.size == 1:
        return Interval(float(array[0]), None, 1, method="one seed")
    n, error = int(array.size), float(array.std(ddof=1) / np.sqrt(array.size))
    half = t_quantile(0.5 + level / 2, n - 1) * error
    return Interval(float(array.mean()), half, n, method, error=error, freedom=n - 1.0)


def seed_interval(
    scores: Mapping[Seeds, float],
    level: float = 0.95,
    method: Literal["auto", "t", "bootstrap"] = "auto",
    *,
    seed: int = 0,
) -> Interval:
    """Interval of the mean score over data seeds and model seeds, from {(data seed, model seed): score}.

    The mean gives every data seed the same weight. By design:

    - every score has seeds of its own: Student's t over the scores;
    - one data seed: Student's t over its model seeds, and the method says that it speaks of that data alone;
    - model seeds nested in data seeds: Student's t over the means of the data seeds;
    - model seeds crossed with data seeds: variance of the mean from the two-way analysis of variance, degrees of
      freedom by Satterthwaite (1946), see ``crossed_variance``;
    - ``FEW`` data seeds or more (crossed: and model seeds, and no hole): hierarchical bootstrap, studentised.

    method   "t" or "bootstrap" overrides the choice by number of seeds
    seed     of the bootstrap's draws
    Raises ValueError for no scores, and for a bootstrap of fewer than four data seeds or of a crossing with holes.
    """
    import numpy as np

    if not scores:
        raise ValueError("an interval needs at least one value")
    rows, columns, values = design(scores)
    n_data, n_model = int(rows.max()) + 1, int(columns.max()) + 1
    if len(values) == 1:
        return Interval(float(values[0]), None, 1, method="one seed")
    if n_data == 1:
        return t_interval(values.tolist(), level, f"t, {n_model} model seeds of one data seed")
    crossed = len(values) > n_model > 1
    per_data = np.bincount(rows)
    if not crossed:
        means = np.bincount(rows, values) / per_data
        shape = f"{n_data} seeds" if per_data.max() == 1 else f"{n_data} data seeds ({len(values)} scores)"
        shape = f"{n_data} data seeds of one model seed" if n_model == 1 else shape
        if method == "bootstrap" or (method == "auto" and n_data >= FEW):
            return _bootstrap(means[:, None], level, seed, f"bootstrap, {shape}")
        return t_interval(means.tolist(), level, f"t, {shape}")
    full = len(values) == n_data * n_model
    shape = f"{n_data} × {n_model} seeds" + ("" if full else f", {n_data * n_model - len(values)} missing")
    if method == "bootstrap" or (method == "auto" and full and min(n_data, n_model) >= FEW):
        if not full:
            raise ValueError(f"the bootstrap of crossed seeds takes no holes: {shape}")
        table = np.empty((n_data, n_model))
        table[rows, columns] = values
        return _bootstrap(table, level, seed, f"bootstrap, {shape}")
    mean, variance, freedom = crossed_variance(rows, columns, values)
    error = float(np.sqrt(variance))
    half = t_quantile(0.5 + level / 2, freedom) * error
    words = f"t, {shape}, {freedom:.1f} degrees of freedom"
    return Interval(mean, half, min(n_data, n_model), words, error=error, freedom=freedom)


def crossed_variance(rows: NDArray[np.intp], columns: NDArray[np.intp], values: Array) -> tuple[float, float, float]:
    """Mean, its variance and degrees of freedom for scores of data seeds crossed with model seeds.

    Model: score_ij = mean + data_i + model_j + rest_ij, all random. In a complete a × b table, with mean squares
    MS of data seeds, model seeds and rest, the variance of the mean is (MS_data + MS_model − MS_rest) / ab
    (Searle, Casella, McCulloch 1992, §4.3); where MS_model < MS_rest the model seeds are taken to add nothing.
    Degrees of freedom after Satterthwaite (1946). Tables with holes use the same three parts: scatter of the row
    means, scatter of the weighted column sums, and least-squares residuals of the additive model.

    rows, columns, values   (n,) index of the data seed and of the model seed, and the score
    """
    import numpy as np

    n_data, n_model = int(rows.max()) + 1, int(columns.max()) + 1
    weights = 1.0 / (n_data * np.bincount(rows)[rows])
    mean = float(weights @ values)
    deviations = weights * (values - mean)
    of_data = n_data / (n_data - 1) * float(np.sum(np.bincount(rows, deviations) ** 2))
    of_model = n_model / (n_model - 1) * float(np.sum(np.bincount(columns, deviations) ** 2))
    additive = np.concatenate([np.eye(n_data)[rows], np.eye(n_model)[columns][:, 1:]], axis=1)
    fit, _, rank, _ = np.linalg.lstsq(additive, values, rcond=None)
    left = len(values) - int(rank)
    # without residual degrees of freedom nothing is subtracted: the interval is then too wide, not too narrow
    of_rest = float(np.sum((values - additive @ fit) ** 2)) / left * float(weights @ weights) if left else 0.0
    variance, spread = of_data, of_data**2 / (n_data - 1)
    if of_model > of_rest:
        variance += of_model - of_rest
        spread += of_model**2 / (n_model - 1) + (of_rest**2 / left if left else 0.0)
    return mean, variance, max(1.0, variance**2 / spread) if spread > 0.0 else float(n_data - 1)


def pair_interval(values: Mapping[Seeds, float], level: float = 0.95) -> Interval:
    """Interval of the mean over pairs of seeds, from {(seed, other seed): value}; for agreement across seeds.

    Pairs that share a seed are not independent: n seeds make n (n − 1) / 2 pairs but are n units. The variance is
    the jackknife's, leaving out a seed with all its pairs (Arvesen 1969), with t quantiles of n − 1 degrees of
    freedom. Raises ValueError for no pairs.
    """
    import numpy as np

    if not values:
        raise ValueError("an interval needs at least one value")
    units = sorted({unit for pair in values for unit in pair}, key=str)
    mean = float(np.mean(list(values.values())))
    kept = [[value for pair, value in values.items() if unit not in pair] for unit in units]
    if len(units) < 3 or not all(kept):
        return Interval(mean, None, len(units), method=f"{len(units)} seeds, one pair")
    without = np.array([np.mean(part) for part in kept])
    variance = (len(units) - 1) / len(units) * float(np.sum((without - without.mean()) ** 2))
    n, error = len(units), float(np.sqrt(variance))
    half = t_quantile(0.5 + level / 2, n - 1) * error
    return Interval(mean, half, n, f"jackknife, pairs of {n} seeds", error=error, freedom=n - 1.0)


def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t; freedom may be fractional."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def design(scores: Mapping[Seeds, float]) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """(n,) index of the data seed, of the model seed, and the value of each score."""
    import numpy as np

    data: dict[Hashable, int] = {}
    model: dict[Hashable, int] = {}
    rows = np.array([data.setdefault(name, len(data)) for name, _ in scores], dtype=np.intp)
    columns = np.array([model.setdefault(name, len(model)) for _, name in scores], dtype=np.intp)
    return rows, columns, np.array(list(scores.values()), dtype=np.float64)


def _bootstrap(table: Array, level: float, seed: int, method: str) -> Interval:
    """Studentised hierarchical bootstrap interval of the mean of a table (data seeds, model seeds).

    One column holds the means of data seeds whose model seeds are nested: data seeds are drawn with replacement,
    each keeping its model seeds (drawing those again would count their variance twice; Davison, Hinkley 1997,
    §3.8). Several columns are crossed model seeds: rows and columns are drawn with replacement (Owen 2007). Either
    way (mean* − mean) / error* is taken against its own quantiles, equal-tailed: the plain percentile interval
    covers 84 % at five data seeds.
    """
    import numpy as np

    n_data, n_model = table.shape
    if n_data < 4:
        # with three, one draw in nine repeats a single seed, and the interval is infinite
        raise ValueError(f"the bootstrap needs at least four data seeds, here are {n_data}")
    generator = np.random.default_rng(seed)
    mean, error = float(table.mean()), float(_errors(table[None])[0])
    drawn_rows = generator.integers(n_data, size=(DRAWS, n_data))
    drawn_columns = generator.integers(n_model, size=(DRAWS, n_model))
    drawn = table[drawn_rows[:, :, None], drawn_columns[:, None, :]]
    shifts, errors = drawn.mean(axis=(1, 2)) - mean, _errors(drawn)
    if error == 0.0:
        return Interval(mean, 0.0, n_data, method, bounds=(mean, mean), error=0.0, freedom=n_data - 1.0)
    # a draw that repeats one seed only has no error of its own: it lies beyond every quantile, on its side
    flat = errors <= 1e-12 * error
    ratios = np.sort(np.where(flat, np.copysign(np.inf, shifts), shifts / np.where(flat, 1.0, errors)))
    tail = round((DRAWS + 1) * (0.5 - level / 2)) - 1
    low, high = mean - float(ratios[-tail - 1]) * error, mean - float(ratios[tail]) * error
    freedom = (min(n_data, n_model) if n_model > 1 else n_data) - 1.0
    half = max(high - mean, mean - low)
    return Interval(mean, half, n_data, method, bounds=(low, high), error=error, freedom=freedom)


def _errors(tables: Array) -> Array:
    """(draws,) standard error of the mean of complete tables (draws, data seeds, model seeds)."""
    import numpy as np

    _, n_data, n_model = tables.shape
    means = tables.mean(axis=(1, 2), keepdims=True)
    data = tables.mean(axis=2, keepdims=True) - means
    variance = np.sum(data**2, axis=(1, 2)) / (n_data * (n_data - 1))
    if n_model > 1:
        model = tables.mean(axis=1, keepdims=True) - means
        rest = np.sum((tables - means - data - model) ** 2, axis=(1, 2)) / ((n_data - 1) * (n_model - 1))
        of_model = np.sum(model**2, axis=(1, 2)) / (n_model * (n_model - 1))
        variance = variance + np.maximum(of_model - rest / (n_data * n_model), 0.0)
    errors: Array = np.sqrt(variance)
    return errors
