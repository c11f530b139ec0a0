"""Real molecules with known factors, inside the assumptions of the multi-task linear causal model.

A molecule's factors are whitened descriptors: fixed, and correlated with the target of no task. What a task can choose
is *which* molecules it measures. For every task a Gaussian over (z, y) is drawn as in Algorithm 1 of Chen et al. 2024,
molecules are selected from a library so that mean and covariance of z are those of that Gaussian (``balancing``), and y
is drawn from its conditional distribution given z: mean and covariance of (z, y) then are the model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from bench.api import Data, EvalView, TrainView, dataset
from datasets.cache import load_arrays, save_arrays
from datasets.molecular import graphs
from datasets.molecular.causal_library import Name, load_library, whitened
from datasets.molecular.molecules import LATENTS
from datasets.synthetic.common import n_held_out, require_choice, require_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datasets.molecular.causal_selection import Selection


@dataset(
    "molecules-causal",
    properties={
        "heads-span": "nearly",
        "gaussian-given-target": "nearly",
        "factorised-given-u": "nearly",
        "exponential-given-u": "nearly",
        "sparse-separating-heads": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="this suite, after Chen et al. 2024, TMLR, Algorithm 1",
    summary="graphs of real small molecules, selected for each task so that known factors cause or follow its target",
    provides=("targets", "aux"),
    kind="graph",
    requires=("rdkit",),
    version=2,
    budgets={"smoke": {"library_size": 6000, "n_latents": 4, "k": 2, "sigma_s": 0.4, "n_tasks": 40, "n_per_task": 50}},
)
@dataset(
    "molecules-causal-counts",
    properties={
        "heads-span": "nearly",
        "gaussian-given-target": "nearly",
        "factorised-given-u": "nearly",
        "exponential-given-u": "nearly",
        "sparse-separating-heads": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="this suite, after Chen et al. 2024, TMLR, Algorithm 1",
    summary="the molecules of molecules-causal as counts of their atoms, bonds and environments",
    provides=("targets", "aux"),
    requires=("rdkit",),
    defaults={"inputs": "counts"},
    budgets={"smoke": {"library_size": 6000, "n_latents": 4, "k": 2, "sigma_s": 0.4, "n_tasks": 40, "n_per_task": 50}},
)
@dataset(
    "molecules-causal-qm9",
    properties={
        "heads-span": "nearly",
        "gaussian-given-target": "nearly",
        "factorised-given-u": "nearly",
        "exponential-given-u": "nearly",
        "sparse-separating-heads": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="this suite, after Chen et al. 2024, TMLR, Algorithm 1; QM9: Ramakrishnan et al., Scientific Data 2014",
    summary="the same, selected from QM9; four factors, as its molecules are fewer and more alike",
    provides=("targets", "aux"),
    kind="graph",
    source="qm9",
    requires=("rdkit",),
    version=2,
    defaults={"library": "qm9", "n_latents": 4, "k": 2},
    budgets={"smoke": {"sigma_s": 0.5, "n_tasks": 40, "n_per_task": 50}},
    on_request=True,
)
def molecules_causal(
    *,
    seed: int,
    n_latents: int = 6,
    k: int = 3,
    sigma_s: float = 0.25,
    n_tasks: int = 200,
    n_per_task: int = 100,
    inputs: Literal["graph", "counts"] = "graph",
    target: Literal["causal", "model"] = "causal",
    split: Literal["molecule", "row", "rarest-scaffold"] = "molecule",
    by_ranks: bool = False,
    library: Name = "enumerated",
    library_size: int = 20000,
    library_seed: int = 0,
) -> Data:
    """Graphs of selected molecules, their factors z and targets y of mean 0 and variance 1; a row is (task, molecule).

    Parameters
    ----------
    seed          of tasks, selection, noise and evaluation set; not of the library
    n_latents, k  factors: the first of MolWt, MolLogP, HallKierAlpha, Kappa2, Chi4v, SMR_VSA1, whitened so that each
                  stays near its descriptor (``info`` has the correlations); and how many of them cause each target
    sigma_s       deviation of a spurious factor given y. A small one asks for rare molecules: see ``library_size``
    n_tasks, n_per_task   tasks, and molecules of each, all different; 20 % of them are held out
    inputs        "graph", or "counts", the graphs' view as vectors
    target        "causal": z_c ~ N(0, .85²) independent, y = w·z_c + N(0, σ²), w ~ N(0, 1), σ ~ U(2, 3), brought to
                  variance 1, z_s = γ y + N(0, sigma_s²), γ ~ U(-.6, .6). Causes of a target are then slightly
                  correlated given it, as in the paper's data. "model": z_c independent of y, as the paper's likelihood
                  has it; y is then a sparse function of z, that of the spurious factors
    split         what is held out. "molecule": molecules of all tasks; "row": (task, molecule) pairs, whose molecules
                  other tasks may train on; "rarest-scaffold": the molecules of the rarest scaffolds, without weights,
                  so that x and z shift while y given z keeps its law (the independent set then is of the others)
    by_ranks      make the descriptors normal by their ranks before whitening
    library       "enumerated", ``library_size`` molecules grown from ``library_seed``, or "qm9"

    Every task's selection, of training and of held-out molecules, rests on an effective sample size of at least ten
    times their number; tasks that do not are drawn anew (``info["redrawn"]``). The independent evaluation set is
    selected to mean 0 and covariance .8 I from the held-out molecules. Raises NotApplicable, naming the task and its
    effective sample size, where 200 draws in a row fail; ValueError for parameters outside these ranges.
    """
    import numpy as np

    from datasets.molecular import causal_selection, features

    require_range("n_latents", n_latents, 1, len(LATENTS))
    require_range("k", k, 1, n_latents)
    require_range("sigma_s", sigma_s, 0.01, 1.0)
    require_range("n_tasks", n_tasks, 1)
    require_range("n_per_task", n_per_task, 5)
    require_choice("inputs", inputs, ("graph", "counts"))
    require_choice("target", target, ("causal", "model"))
    require_choice("split", split, ("molecule", "row", "rarest-scaffold"))
    require_choice("library", library, ("enumerated", "qm9"))
    lib = load_library(library, library_size, library_seed)
    descriptors = lib.descriptors[:, :n_latents]
    z = whitened(descriptors, by_ranks=by_ranks)
    key = {
        "library": lib.info["library_sha256"],
        "versions": [causal_selection.VERSION, features.VERSION],
        "parameters": [seed, n_latents, k, sigma_s, n_tasks, n_per_task, target, split, by_ranks],
        "rdkit": features.rdkit_version(),
    }
    stored: Any = load_arrays("causal-selection", key)
    if stored is None:
        train_side, test_side = causal_selection.sides(lib.smiles, lib.scaffolds, split)
        n_test = n_held_out(n_per_task)
        stored = vars(
            causal_selection.select(
                z,
                train_side,
                test_side,
                k=k,
                sigma_s=sigma_s,
                target=target,
                n_tasks=n_tasks,
                n_train=n_per_task - n_test,
                n_test=n_test,
                shifted=split == "rarest-scaffold",
                seed=seed,
            )
        )
        save_arrays("causal-selection", key, stored)
    chosen = causal_selection.Selection(**stored)
    made = graphs.graphs(lib.packed)
    kept = [float(np.corrcoef(z[:, j], descriptors[:, j])[0, 1]) for j in range(n_latents)]
    independent = np.corrcoef(z[chosen.independent], rowvar=False).reshape(n_latents, n_latents)
    info = lib.info | {
        "inputs": inputs,
        "target": target,
        "split": split,
        "latents": list(LATENTS[:n_latents]),
        "latent_descriptor_correlation": np.round(kept, 3).tolist(),
        "effective_sample_size": _median_and_minimum(chosen.effective),
        "effective_sample_size_test": _median_and_minimum(chosen.effective_test),
        "redrawn": int(chosen.redrawn),
        "n_train": chosen.train.size,
        "n_test": chosen.test.size,
        "molecules_used": len(np.unique(chosen.train)),
        "n_independent": len(chosen.independent),
        "max_independent_correlation": round(float(np.abs(independent - np.eye(n_latents)).max()), 3),
    }
    names = tuple(f"{name}, whitened" for name in LATENTS[:n_latents])
    return _views(made.flat() if inputs == "counts" else made, z, chosen, names, lib.smiles, info, seed)


def _views(
    x: Any,
    z: NDArray[np.float64],
    chosen: Selection,
    names: tuple[str, ...],
    smiles: Sequence[str],
    info: dict[str, Any],
    seed: int,
) -> Data:
    """One row of x for every (task, molecule) pair: a molecule that two tasks measure is two samples."""
    import numpy as np

    n_tasks = len(chosen.causal)
    train, test = chosen.train.reshape(-1), chosen.test.reshape(-1)
    task_train = np.repeat(np.arange(n_tasks), chosen.train.shape[1])
    task_test = np.repeat(np.arange(n_tasks), chosen.test.shape[1])
    rng = np.random.default_rng([seed, 1])
    view = TrainView(
        x=x[train],
        sample=np.arange(len(train)),
        task=task_train,
        y=chosen.y_train.reshape(-1),
        n_tasks=n_tasks,
        n_latents=z.shape[1],
        aux=task_train.copy(),
    )
    held = EvalView(
        x_test=x[test],
        aux_test=task_test.copy(),
        sample_test=np.arange(len(test)),
        task_test=task_test,
        y_test=chosen.y_test.reshape(-1),
        z_train=z[train],
        z_test=z[test],
        x_independent=x[chosen.independent],
        z_independent=z[chosen.independent],
        # such factors stem from no task, and a random one tells nothing about them
        aux_independent=rng.integers(n_tasks, size=len(chosen.independent)),
        causal=chosen.causal,
        latent_names=names,
        smiles_test=tuple(smiles[int(row)] for row in test),
    )
    return Data(view, held, info)


def _median_and_minimum(values: NDArray[np.float64]) -> list[int]:
    import numpy as np

    return [round(float(np.median(values))), round(float(values.min()))]
