"""``digits-shift``: the 1,797 handwritten digits that scikit-learn ships, coloured; a digit's hue misleads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, Episode, EvalView, TrainView, dataset
from bench.toolkit.inputs import Images
from datasets.images.colour import rgb
from datasets.shift.episodes import how_many, misleading_episode
from datasets.synthetic.common import require_range

N_TEST = 500
COLOURINGS = 8  # of every held-out digit: 100 shots need 100 samples with one hue side


@dataset(
    "digits-shift",
    properties={"linear-mixing": "no", "gaussian-given-target": "no"},
    paper="Alpaydin & Kaynak 1998 (UCI optical digits); after Fumero et al. 2023, NeurIPS",
    summary="coloured handwritten digits: one digit or another, and the hue follows the digit in the support",
    provides=("targets", "binary"),
    kind="image",
    budgets={"smoke": {"colourings": 1, "episodes": 4}},
    on_request=True,
    version=2,
)
def load_digits_shift(*, seed: int, colourings: int = 4, aligned: float = 0.9, episodes: int = 100) -> Data:
    """Digits (3, 8, 8) in a hue each, and few-shot tasks between two digits.

    seed         of all draws, and of which 500 digits are held out
    colourings   of every training digit, each in another hue
    aligned      share of the support whose hue is on the side of the digit
    episodes     few-shot tasks with 10 samples of each class; two fifths as many with 25, a fifth with 100

    Factors: the hue, and indicators of the digits 1 to 9 (0 is none of them); what else differs between two writings of
    a digit is not known, so that the factors are a part of the truth. Tasks to learn from: is it digit k, for all ten,
    and is the hue above a threshold, for ten thresholds. Raises ValueError for other parameters.
    """
    from sklearn.datasets import load_digits

    require_range("colourings", colourings, 1)
    require_range("aligned", aligned, 0.5, 1.0)
    require_range("episodes", episodes, 1)
    rng = np.random.default_rng(seed)
    bundle: Any = load_digits()
    grey, digit = bundle.images / 16.0, bundle.target.astype(np.int64)
    order = rng.permutation(len(digit))
    thresholds = np.linspace(-0.9, 0.9, 10)

    def coloured(rows: NDArray[Any], times: int) -> tuple[Images, NDArray[Any], NDArray[Any]]:
        rows = np.repeat(rows, times)
        hue = rng.uniform(-1, 1, len(rows))
        pixels = 255 * rgb(hue)[:, :, None, None] * grey[rows][:, None] + 0.5
        z = np.column_stack([hue, digit[rows][:, None] == np.arange(1, 10)]).astype(np.float64)
        return Images(pixels.astype(np.uint8)), z, digit[rows]

    def tasks(z: NDArray[Any], of: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        answers = np.column_stack([of[:, None] == np.arange(10), z[:, :1] > thresholds])
        n, n_tasks = answers.shape
        return np.repeat(np.arange(n), n_tasks), np.tile(np.arange(n_tasks), n), answers.reshape(-1).astype(np.float64)

    x, z, of = coloured(order[N_TEST:], colourings)
    x_test, z_test, of_test = coloured(order[:N_TEST], COLOURINGS)
    sample, task, y = tasks(z, of)
    sample_test, task_test, y_test = tasks(z_test, of_test)
    drawn: list[Episode] = []
    for shots, count in how_many(episodes).items():
        for _ in range(count):
            a, b = rng.choice(10, 2, replace=False)
            rows = np.flatnonzero((of_test == a) | (of_test == b))
            drawn.append(misleading_episode(rng, of_test == b, z_test[:, 0] > 0, shots, aligned=aligned, rows=rows))
    train = TrainView(x=x, sample=sample, task=task, y=y, n_tasks=20, n_latents=z.shape[1], target_type="binary")
    causal = np.zeros((20, z.shape[1]), dtype=bool)
    causal[0, 1:] = True
    causal[np.arange(1, 10), np.arange(1, 10)] = True
    causal[10:, 0] = True
    truth = EvalView(
        x_test=x_test,
        sample_test=sample_test,
        task_test=task_test,
        y_test=y_test,
        z_train=z,
        z_test=z_test,
        causal=causal,
        latent_names=("hue", *(f"digit {k}" for k in range(1, 10))),
        episodes=tuple(drawn),
    )
    return Data(train, truth, {"n_train": len(z), "n_test": len(z_test), "episodes": len(drawn)})
