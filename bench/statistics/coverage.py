"""What the intervals of ``bench.statistics.intervals`` cover, simulated.

``python -m bench.statistics.coverage`` prints the table of the docs.

A simulated learner scores mean + data_i + model_j + rest_ij (crossed), or mean + data_i + rest_ij (nested), with
known mean and standard deviations. Each interval is made as for real scores; how often it holds the true mean is
its coverage. Skewed seeds are 1 − an exponential: mostly a little above average, now and then far below, as
scores bounded by 1 are. Failing seeds are normal, and one in ten lies 20 standard deviations below the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.statistics.better import probability_better
from bench.statistics.boards import NOISES, board_errors
from bench.statistics.intervals import Interval, Seeds, pair_interval, seed_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FAILS, FALL = 0.1, 20.0
"""How often a failing learner fails, and how many of its usual standard deviations it then falls."""

Shape = Literal["normal", "skewed", "failing"]


@dataclass(frozen=True)
class Design:
    """n_data × n_model seeds, and the standard deviations that data seed, model seed and the rest of a score have.

    n_missing   cells taken away at random, as failures do
    """

    n_data: int
    n_model: int
    crossed: bool
    data: float
    model: float
    rest: float
    shape: Shape = "normal"
    n_missing: int = 0

    def draw(self, generator: np.random.Generator) -> dict[Seeds, float]:
        """Scores of one simulated learner whose true mean is 0."""

        def noise(*size: int) -> Array:
            if self.shape == "skewed":
                return 1.0 - generator.standard_exponential(size)
            if self.shape == "failing":
                return generator.standard_normal(size) + FALL * (FAILS - (generator.random(size) < FAILS))
            return generator.standard_normal(size)

        scores = self.data * noise(self.n_data, 1) + self.rest * noise(self.n_data, self.n_model)
        scores = scores + self.model * noise(1 if self.crossed else self.n_data, self.n_model)
        cells = [(i, j) for i in range(self.n_data) for j in range(self.n_model)]
        gone = set(generator.permutation(len(cells))[: self.n_missing].tolist())
        return {
            (i, j if self.crossed else (i, j)): float(scores[i, j]) for k, (i, j) in enumerate(cells) if k not in gone
        }

    def describe(self) -> str:
        kind = "one score a seed" if self.n_model == 1 else "crossed" if self.crossed else "nested"
        holes = f", {self.n_missing} missing" if self.n_missing else ""
        return f"{self.n_data} × {self.n_model} {kind}{holes}"


Method = Callable[[dict[Seeds, float]], Interval]


def coverage(design: Design, method: Method, repeats: int, seed: int = 0) -> float:
    """Share of simulated learners whose interval holds the true mean."""
    import numpy as np

    generator = np.random.default_rng(seed)
    return sum(method(design.draw(generator)).covers(0.0) for _ in range(repeats)) / repeats


def percentile(scores: dict[Seeds, float], draws: int = 999, seed: int = 0) -> Interval:
    """The plain two-level percentile bootstrap, for comparison only: drawn data seeds, then drawn scores of each."""
    import numpy as np

    generator = np.random.default_rng(seed)
    groups: dict[object, list[float]] = {}
    for (data, _), value in scores.items():
        groups.setdefault(data, []).append(value)
    table = np.array(list(groups.values()))
    rows = generator.integers(table.shape[0], size=(draws, table.shape[0], 1))
    columns = generator.integers(table.shape[1], size=(draws, *table.shape))
    means = np.sort(table[rows, columns].mean(axis=(1, 2)))
    tail = round((draws + 1) * 0.025) - 1
    low, high = float(means[tail]), float(means[-tail - 1])
    mean = float(table.mean())
    return Interval(mean, max(high - mean, mean - low), len(groups), "percentile", bounds=(low, high))


def naive(scores: dict[Seeds, float]) -> Interval:
    """Every score counted as independent, for comparison only."""
    from bench.statistics.intervals import t_interval

    return t_interval(list(scores.values()))


def pair_coverage(n: int, common: float, rest: float, repeats: int, seed: int = 0) -> float:
    """Coverage of ``pair_interval`` for agreement_rs = common_r + common_s + rest_rs over n seeds."""
    import numpy as np

    generator = np.random.default_rng(seed)
    hits = 0
    for _ in range(repeats):
        own = common * generator.standard_normal(n)
        pairs: dict[Seeds, float] = {
            (r, s): float(own[r] + own[s] + rest * generator.standard_normal()) for r in range(n) for s in range(r)
        }
        hits += pair_interval(pairs).covers(0.0)
    return hits / repeats


def probability_coverage(design: Design, shift: float, repeats: int, seed: int = 0) -> float:
    """Coverage of ``probability_better`` when A leads by ``shift`` and the difference varies as in the design."""
    import numpy as np
    from scipy.stats import norm

    generator = np.random.default_rng(seed)
    true = float(norm.cdf(shift / np.sqrt(design.data**2 + design.model**2 + design.rest**2)))
    hits = 0
    for _ in range(repeats):
        wins = {key: float(shift + value > 0) for key, value in design.draw(generator).items()}
        hits += probability_better(wins).covers(true)
    return hits / repeats


def agreement(spread: float, n_seeds: int, repeats: int, seed: int = 0) -> float:
    """How often a new seed agrees with ``n_seeds`` that all say the same.

    True differences are normal with standard deviation ``spread``, in standard deviations of a seed's difference.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    seen = spread * generator.standard_normal((repeats, 1)) + generator.standard_normal((repeats, n_seeds + 1))
    unanimous = (seen[:, :n_seeds] > 0.0).all(axis=1)
    return float((seen[unanimous, n_seeds] > 0.0).mean())


def width_ratios(design: Design, repeats: int, seed: int = 0) -> tuple[float, float]:
    """Median and 95th percentile of the bootstrap's width over the width of the t interval of the same scores."""
    import numpy as np

    generator = np.random.default_rng(seed)
    ratios = []
    for _ in range(repeats):
        scores = design.draw(generator)
        bootstrap, student = (seed_interval(scores, method=method) for method in ("bootstrap", "t"))
        ratios.append((bootstrap.high - bootstrap.low) / (student.high - student.low))  # type: ignore[operator]
    median, high = np.quantile(ratios, [0.5, 0.95])
    return float(median), float(high)


SPREADS = ((1.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.3, 0.0, 1.0), (0.0, 0.0, 1.0))
SPREADS_CROSSED = ((1.0, 1.0, 1.0), (1.0, 0.5, 0.5), (1.0, 1.0, 0.3), (0.3, 1.0, 0.3), (0.0, 1.0, 1.0))


def designs() -> list[Design]:
    """The designs of the published table: 5 × 3 seeds first, then what people run otherwise."""
    made = [Design(5, 3, False, *spread) for spread in SPREADS]
    made += [Design(5, 3, True, *spread) for spread in (*SPREADS, *SPREADS_CROSSED)]
    made += [Design(5, 3, False, 1.0, 0.0, 1.0, "skewed"), Design(5, 3, True, 1.0, 1.0, 1.0, "skewed")]
    made += [Design(5, 3, True, 1.0, 1.0, 1.0, n_missing=missing) for missing in (1, 3)]
    for shape in ("normal", "skewed"):
        made += [Design(n, 1, False, 1.0, 0.0, 0.0, shape) for n in (3, 5, 10, 20)]
        made.append(Design(10, 10, True, 1.0, 1.0, 1.0, shape))
    made += [Design(n, 1, False, 1.0, 0.0, 0.0, "failing") for n in (3, 5, 10, 20)]
    return made


def coverage_table(repeats: int) -> str:
    """Markdown: coverage of four intervals; in bold the one that ``seed_interval`` chooses by itself."""
    from bench.report.markdown import DASH, table

    rows = []
    for design in designs():

        def share(method: Method, design: Design = design) -> str:
            return f"{100 * coverage(design, method, repeats):.1f}"

        full = design.n_missing == 0
        which = seed_interval(design.draw(_generator())).method.split(",")[0]
        by_t = share(lambda scores: seed_interval(scores, method="t"))
        resampled = full and design.n_data > 3
        by_bootstrap = share(lambda scores: seed_interval(scores, method="bootstrap")) if resampled else DASH
        rows.append(
            [
                design.describe(),
                design.shape,
                " / ".join(f"{spread:g}" for spread in (design.data, design.model, design.rest)),
                f"**{by_t}**" if which == "t" else by_t,
                f"**{by_bootstrap}**" if which == "bootstrap" else by_bootstrap,
                share(percentile) if full else DASH,
                share(naive),
            ]
        )
    header = ["data × model seeds", "seeds", "spread: data / model / rest", "t", "bootstrap-t", "percentile"]
    return table([*header, "all scores independent"], rows, numeric_from=3)


def _generator() -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(0)


def other_table(repeats: int) -> str:
    """Markdown: coverage of the interval over pairs of seeds and of P(A > B)."""
    from bench.report.markdown import table

    rows = [
        [f"agreement across {n} seeds, spread of seed {common:g}, of pair {rest:g}", f"{100 * share:.1f}"]
        for n in (3, 5)
        for common, rest in ((1.0, 0.3), (0.3, 1.0))
        for share in [pair_coverage(n, common, rest, repeats)]
    ]
    for design in (Design(3, 1, False, 1, 0, 0), Design(5, 1, False, 1, 0, 0), Design(5, 3, False, 1, 0, 1)):
        for shift in (0.0, 0.7, 1.5):
            share = probability_coverage(design, shift, repeats)
            spread = (design.data**2 + design.model**2 + design.rest**2) ** 0.5
            rows.append([f"P(A > B), {design.describe()}, lead {shift / spread:.2g} sd", f"{100 * share:.1f}"])
    return table(["interval", "covers %"], rows)


def width_table(repeats: int) -> str:
    """Markdown: how much wider the bootstrap is than t, by number of seeds."""
    from bench.report.markdown import table

    rows = []
    for shape in ("normal", "skewed"):
        for n in (5, 10, 20):
            median, high = width_ratios(Design(n, 1, False, 1.0, 0.0, 0.0, shape), repeats)
            rows.append([f"{n} {shape}", f"{median:.2f}", f"{high:.2f}"])
    return table(["seeds", "median", "95th percentile"], rows)


def agreement_table(repeats: int) -> str:
    """Markdown: agreement of a new seed by how far apart learners are, and what ``probability_better`` says."""
    from bench.report.markdown import table

    rows = [
        [f"{spread:g} sd of a seed", *(f"{agreement(spread, n, repeats):.2f}" for n in (3, 5))]
        for spread in (0.25, 0.5, 1.0, 2.0, 4.0)
    ]
    said = [f"{probability_better({(i, i): 1.0 for i in range(n)}).mean:.2f}" for n in (3, 5)]
    rows.append(["printed as P(A better)", *said])
    return table(["true differences of", "after 3 wins of 3", "after 5 wins of 5"], rows)


def family_table(repeats: int) -> str:
    """Markdown: errors of both kinds by noise, number of learners and number of seeds."""
    from bench.report.markdown import table

    rows = []
    for noise, words in NOISES.items():
        for k in (2, 14, 26):
            for n in (3, 5):
                found = board_errors(k, n, repeats, noise=noise)
                shares = (found.separated, found.behind, found.found)
                rows.append([words, str(k), str(n), *(f"{100 * share:.1f}" for share in shares)])
    header = ["noise", "learners", "seeds", "any false separation", "learners falsely behind", "3 sd apart, told apart"]
    return table(header, rows, numeric_from=1)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.statistics.coverage", description="Simulate what the intervals cover.")
    parser.add_argument("--repeats", type=int, default=2000, help="simulated learners a row (default: 2000)")
    repeats = parser.parse_args(arguments).repeats
    print(f"Coverage in % of nominal 95 % intervals, {repeats} simulated learners a row.\n")
    print(coverage_table(repeats))
    print(f"\n{other_table(repeats)}")
    print(f"\nWidth of the bootstrap-t interval over that of the t interval.\n\n{width_table(repeats)}")
    print(f"\nHow often a new seed agrees with all that were seen.\n\n{agreement_table(repeats * 100)}")
    print(f"\nWhole boards, in %, {max(1, repeats // 2)} a row.\n\n{family_table(max(1, repeats // 2))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
