"""From own arrays to a heat map of causal indicators: which recovered factor causes which task's target.

    python examples/indicators.py    # writes indicators.txt and, where matplotlib is installed, indicators.png

The data are made here, so that the answer is known: 12 tasks, 4 factors, two of them causing each target.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import bench
from bench.estimators import MTLCM

SHADES = " .:*#"


def make_data(seed: int = 0, tasks: int = 12, d: int = 4, n_per_task: int = 400) -> dict[str, np.ndarray]:
    """x (n, d), y (n,), task (n,) words, z (n, d), causes (tasks, d) bool, as in Chen et al. 2024, Algorithm 1.

    Two factors cause the target of a task; the others are driven by it, with another strength in each task.
    """
    rng = np.random.default_rng(seed)
    causes = np.argsort(rng.random((tasks, d)), axis=1) < 2
    factors, targets = [], []
    for cause in causes:
        z = rng.standard_normal((n_per_task, d))
        y = z @ (rng.standard_normal(d) * cause) + rng.uniform(2.0, 3.0) * rng.standard_normal(n_per_task)
        driven = np.outer(y, rng.uniform(-1.0, 1.0, d)) + 0.1 * z
        factors.append(np.where(cause, z, driven))
        targets.append(y)
    z = np.vstack(factors)
    names = np.repeat([f"assay {t + 1:02}" for t in range(tasks)], n_per_task)
    x = z @ rng.standard_normal((d, d))
    return {"x": x, "y": np.concatenate(targets), "task": names, "z": z, "causes": causes}


def heat_map(indicators: np.ndarray, names: np.ndarray) -> str:
    """A line a task, a column a factor; the darker, the more surely a cause."""
    head = " " * 10 + " ".join(f"z{i + 1}" for i in range(indicators.shape[1]))
    rows = [
        f"{name:<10}" + " ".join(2 * SHADES[round(float(value) * (len(SHADES) - 1))] for value in row)
        for name, row in zip(names, indicators, strict=True)
    ]
    return "\n".join([head, *rows])


def main(folder: str = ".") -> np.ndarray:
    """Fit, score against the known factors, draw; returns the indicators (12, 4) in the order of the true factors."""
    data = make_data()
    model = MTLCM(n_latents=4, random_state=0).fit(data["x"], data["y"], data["task"])
    codes = model.transform(data["x"])
    print(bench.evaluate(z=data["z"], codes=codes))
    correlation = np.abs(np.corrcoef(data["z"].T, codes.T)[:4, 4:])
    order = correlation.argmax(axis=1)  # which code stands for which true factor
    indicators = np.asarray(model.causal_, dtype=float)[:, order]
    drawing = heat_map(indicators, model.tasks_)
    Path(folder, "indicators.txt").write_text(drawing + "\n", encoding="utf-8")
    print(drawing)
    print(f"{(indicators == data['causes']).mean():.0%} of the indicators are right")
    _picture(indicators, model.tasks_, Path(folder, "indicators.png"))
    return indicators


def _picture(indicators: np.ndarray, names: np.ndarray, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("for a picture: pip install matplotlib")
        return
    figure = Figure(figsize=(4, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(indicators, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    axes.set(xlabel="factor", ylabel="task", xticks=range(indicators.shape[1]), yticks=range(len(names)))
    axes.set_yticklabels(names)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:2])
