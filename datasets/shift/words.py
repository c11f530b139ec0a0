"""``words``: documents as bags of words, log-linear in a few factors, so that the best estimate of them is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, EvalView, TrainView, dataset
from datasets.images.factors import SparseTasks
from datasets.shift.episodes import how_many, misleading_episode, spurious_pairs
from datasets.synthetic.common import extra_held_out, require_choice, require_range

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
INPUTS = ("log1p", "counts")
MOST_STEPS = 40
CONVERGED = 1e-9
BLOCK = 2000  # documents at a time: 6 MB of frequencies


@dataset(
    "words",
    properties={
        "injective-mixing": {"n_words<d": "no", "otherwise": "nearly"},
        "linear-mixing": "no",
        "heads-span": {"n_tasks<d": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "independent-non-gaussian": "no",
    },
    paper="none: made for this suite, after Fumero et al. 2023, NeurIPS (CivilComments)",
    summary="bags of words, log-linear in 6 factors: tasks to learn from, then few-shot tasks that mislead",
    provides=("targets", "binary"),
    budgets={"smoke": {"n": 3000, "n_tasks": 12, "episodes": 4}, "paper": {"n": 50000}},
    on_request=True,
)
def load_words(
    *,
    seed: int,
    n: int = 10_000,
    d: int = 6,
    n_words: int = 400,
    length: int = 150,
    n_tasks: int = 40,
    strength: float = 0.36,
    inputs: str = "log1p",
    noise: float = 0.1,
    aligned: float = 0.9,
    episodes: int = 100,
) -> Data:
    """Documents with sparse tasks to learn from, and few-shot tasks whose classes are signs of single factors.

    Parameters
    ----------
    seed       of all draws: loadings, tasks, documents, few-shot tasks
    n          training documents; a quarter as many more are held out
    d          independent standard normal factors
    n_words, length   words there are, and words in a document: counts ~ Multinomial(length, softmax(W z + b))
    n_tasks    sparse binary tasks; every document has all of them
    strength   standard deviation of the loadings W; that of b, by which words are rare or frequent, is 1
    inputs     x is log(1 + count), in which linear learners fare better, or the "counts"
    noise      standard deviation of the targets' noise over that of their signal
    aligned    share of the support in which a second factor's sign is the class
    episodes   few-shot tasks with 10 samples of each class; two fifths as many with 25, a fifth with 100

    Counts do not determine the factors: the ceiling is their maximum a posteriori estimate under the true W and b
    (``posterior_mode``). Raises ValueError for other parameters and BadData where n is too small for 100 shots.
    """
    for name, value in (("n", n), ("d", d), ("n_words", n_words), ("length", length), ("n_tasks", n_tasks)):
        require_range(name, value, {"n": 20, "d": 2, "n_words": 2}.get(name, 1))
    for name, number in (("strength", strength), ("noise", noise)):
        require_range(name, number, 0.0)
    require_range("aligned", aligned, 0.5, 1.0)
    require_range("episodes", episodes, 1)
    require_choice("inputs", inputs, INPUTS)
    rng_mixing, rng_tasks, rng_train, rng_test, rng_episodes = np.random.default_rng(seed).spawn(5)
    loadings = strength * rng_mixing.standard_normal((n_words, d))
    intercept = rng_mixing.standard_normal(n_words)
    tasks = SparseTasks(rng_tasks, n_tasks, d, noise=noise, spread=np.ones(d))

    def documents(rng: np.random.Generator, count: int) -> tuple[Float64, Int64]:
        z = rng.standard_normal((count, d))
        return z, rng.multinomial(length, frequencies(z, loadings, intercept))

    z, counts = documents(rng_train, n)
    z_test, counts_test = documents(rng_test, extra_held_out(n))
    sample, task, y = tasks(z, rng_train)
    sample_test, task_test, y_test = tasks(z_test, rng_test)
    drawn = tuple(
        misleading_episode(rng_episodes, z_test[:, core] > 0, z_test[:, other] > 0, shots, aligned=aligned)
        for shots, count in how_many(episodes).items()
        for core, other in spurious_pairs(rng_episodes, d, count)
    )
    train = TrainView(
        x=_observed(counts, inputs),
        sample=sample,
        task=task,
        y=y,
        n_tasks=n_tasks,
        n_latents=d,
        target_type="binary",
    )
    truth = EvalView(
        x_test=_observed(counts_test, inputs),
        sample_test=sample_test,
        task_test=task_test,
        y_test=y_test,
        z_train=z,
        z_test=z_test,
        ceiling_train=posterior_mode(counts, loadings, intercept),
        ceiling_test=posterior_mode(counts_test, loadings, intercept),
        causal=tasks.causal,
        episodes=drawn,
    )
    info = {"n_train": n, "n_test": len(z_test), "n_tasks": n_tasks, "inputs": inputs, "episodes": len(drawn)}
    return Data(train, truth, info)


def frequencies(z: Float64, loadings: Float64, intercept: Float64) -> Float64:
    """Probabilities (n, V) of the words: softmax(W z + b), for z (n, d), W (V, d), b (V,)."""
    logits = z @ loadings.T + intercept
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def posterior_mode(counts: Int64, loadings: Float64, intercept: Float64) -> Float64:
    """argmax_z of log p(counts | z) − |z|²/2, (n, d), for counts (n, V): the likelihood is a multinomial logit.

    The objective is strictly concave. Newton's steps, cut to length 1, as from far away whole ones overshoot.
    """
    n_words, d = loadings.shape
    products = np.einsum("vi,vj->vij", loadings, loadings).reshape(n_words, d * d)
    found = np.zeros((len(counts), d))
    for start in range(0, len(counts), BLOCK):
        c = counts[start : start + BLOCK].astype(np.float64)
        length = c.sum(axis=1, keepdims=True)
        seen = c @ loadings
        z = found[start : start + BLOCK]
        for _ in range(MOST_STEPS):
            p = frequencies(z, loadings, intercept)
            mean = p @ loadings
            slope = seen - length * mean - z
            spread = (p @ products).reshape(-1, d, d) - mean[:, :, None] * mean[:, None, :]
            step = np.linalg.solve(length[:, :, None] * spread + np.eye(d), slope[:, :, None])[:, :, 0]
            step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1.0)
            z += step
            if np.abs(step).max() < CONVERGED:
                break
    return found


def _observed(counts: Int64, inputs: str) -> NDArray[np.float32]:
    return np.asarray(np.log1p(counts) if inputs == "log1p" else counts, dtype=np.float32)
