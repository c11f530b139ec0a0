"""Molecules without a download: a grown library whose latent factors are chosen descriptors, hence known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.api import Data, EvalView, NotApplicable, TrainView, dataset
from datasets.cache import load_arrays, save_arrays
from datasets.molecular import features, library
from datasets.molecular.splits import long_format
from datasets.synthetic.common import require_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Size, lipophilicity, hybridisation, elongation, branching and rings, surface of electronegative atoms. Each is nearly
# linear in the counts of atom environments (held-out R² of a ridge regression at least 0.91) and they are correlated
# pairwise by at most 0.39 in the standard library. A search of features.DESCRIPTORS found no larger set below 0.4.
LATENTS = ("MolWt", "MolLogP", "HallKierAlpha", "Kappa2", "Chi4v", "SMR_VSA1")


@dataset(
    "molecules",
    properties={
        "heads-span": {"n_tasks<n_latents": "no", "otherwise": "yes"},
        "sparse-separating-heads": {"k=n_latents": "no", "otherwise": "yes"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "exponential-given-u": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="this suite; descriptors by RDKit, molecules in the spirit of Ruddigkeit et al., J. Chem. Inf. Model. 2012",
    summary="atom-environment counts of enumerated small molecules; known latents: descriptors; sparse linear tasks",
    provides=("targets",),
    requires=("rdkit",),
    version=2,
    budgets={
        "smoke": {"library_size": 900, "n_train": 500, "n_test": 200},
        "paper": {"library_size": 20000, "n_train": 15000, "n_test": 5000},
    },
)
def molecules(
    *,
    seed: int,
    n_train: int = 3000,
    n_test: int = 1000,
    n_tasks: int = 40,
    k: int = 2,
    noise: float = 0.3,
    observed: float = 1.0,
    n_latents: int = 6,
    n_features: int = 128,
    library_size: int = 4000,
    library_seed: int = 0,
) -> Data:
    """Molecules, their latents and tasks: x (n, n_features) counts of atom environments; y sparse linear in z.

    The latents z are the first ``n_latents`` of MolWt, MolLogP, HallKierAlpha, Kappa2, Chi4v and SMR_VSA1, standardised
    over the library. Task t has k causes drawn at random and weights from N(0, 1): y = w·z_c / sd(w·z_c) + noise·ε,
    ε ~ N(0, 1), so ``noise`` is in units of the signal's standard deviation. Every latent causes at least one task.

    observed       share of (training sample, task) pairs whose target is observed
    library_size   molecules grown from ``library_seed``, the same for every seed; ``seed`` draws from them the training
                   and held-out samples, and the tasks

    The latents are correlated, as they are in nature (``info`` has their correlations), and there is no independent
    evaluation set: no molecule exists for most combinations of descriptor values. Raises NotApplicable, ValueError.
    """
    import numpy as np

    require_range("n_latents", n_latents, 1, len(LATENTS))
    require_range("k", k, 1, n_latents)
    require_range("n_tasks", n_tasks, math.ceil(n_latents / k))  # fewer cannot have every latent as a cause
    require_range("noise", noise, 0.0)
    require_range("observed", observed, 0.01, 1.0)
    if n_train < 2 or n_test < 1 or n_train + n_test > library_size:
        raise NotApplicable(
            f"{n_train} training and {n_test} held-out molecules do not fit a library of {library_size}"
        )
    smiles, counts, values = molecule_library(library_size, seed=library_seed, n_features=n_features)
    z = values[:, :n_latents]
    z = (z - z.mean(0)) / z.std(0)

    rng = np.random.default_rng(seed)
    order = rng.permutation(library_size)
    train, test = order[:n_train], order[n_train : n_train + n_test]
    causal = causes(rng, n_tasks, k, n_latents)
    weights = causal * rng.standard_normal((n_tasks, n_latents))
    signal = z @ weights.T
    y = signal / signal.std(0) + noise * rng.standard_normal(signal.shape)
    mask = rng.random((n_train, n_tasks)) < observed if observed < 1.0 else None

    sample, task, target = long_format(y[train], mask)
    sample_test, task_test, target_test = long_format(y[test])
    view = TrainView(x=counts[train], sample=sample, task=task, y=target, n_tasks=n_tasks, n_latents=n_latents)
    held_out = EvalView(
        x_test=counts[test],
        sample_test=sample_test,
        task_test=task_test,
        y_test=target_test,
        z_train=z[train],
        z_test=z[test],
        causal=causal,
        latent_names=LATENTS[:n_latents],
        smiles_test=tuple(smiles[row] for row in test),
    )
    correlation = np.corrcoef(z, rowvar=False).reshape(n_latents, n_latents)
    info = {
        "library": library_size,
        "library_sha256": features.content_hash(smiles),
        "rdkit": features.rdkit_version(),
        "n_train": n_train,
        "n_test": n_test,
        "latents": list(LATENTS[:n_latents]),
        "latent_correlation": correlation.round(3).tolist(),
        "max_abs_correlation": round(float(np.abs(correlation - np.eye(n_latents)).max()), 3),
        "independent_evaluation": "none: real molecules do not exist for independent descriptor values",
    }
    return Data(view, held_out, info)


def causes(rng: np.random.Generator, n_tasks: int, k: int, n_latents: int) -> NDArray[np.bool_]:
    """(n_tasks, n_latents) bool: k random causes a task, every latent the cause of at least one task."""
    import numpy as np

    causal = np.zeros((n_tasks, n_latents), dtype=bool)
    causal[np.arange(n_tasks)[:, None], rng.random((n_tasks, n_latents)).argsort(1)[:, :k]] = True
    for missing in np.flatnonzero(~causal.any(0)):
        uses = causal.sum(0)
        # in some task, one of the causes that other tasks have too makes room
        t, j = rng.permutation(np.argwhere(causal & (uses > 1)))[0]
        causal[t, j], causal[t, missing] = False, True
    return causal


def molecule_library(
    size: int, *, seed: int, n_features: int
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float64]]:
    """SMILES, environment counts (size, n_features) and all LATENTS (size, 6) in RDKit's units; cached on disk."""
    key = {
        "size": size,
        "seed": seed,
        "n_features": n_features,
        "latents": list(LATENTS),
        "versions": [library.VERSION, features.VERSION, features.rdkit_version()],
    }
    stored = load_arrays("molecules", key)
    if stored is None:
        import numpy as np
        from rdkit import Chem, rdBase

        smiles = library.grow(size, seed=seed)
        with rdBase.BlockLogs():
            parsed = [Chem.MolFromSmiles(text) for text in smiles]
            stored = {
                "smiles": np.array(smiles),
                "counts": environment_counts(parsed, n_features),
                "values": features.descriptors(parsed, LATENTS),
            }
        save_arrays("molecules", key, stored)
    return [str(text) for text in stored["smiles"]], stored["counts"], stored["values"]  # type: ignore[return-value]


def environment_counts(parsed: Sequence[object], n_features: int) -> NDArray[np.float32]:
    """(n, n_features) counts of the commonest atom environments of these molecules, up to one bond around each atom.

    Unlike a folded fingerprint, a column is one environment; the rare ones are left out. Columns left over are zero.
    """
    import numpy as np
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=1)
    sparse = [generator.GetSparseCountFingerprint(molecule).GetNonzeroElements() for molecule in parsed]
    seen: Counter[int] = Counter(environment for row in sparse for environment in row)
    ranked = sorted(seen, key=lambda environment: (-seen[environment], environment))[:n_features]
    column = {environment: j for j, environment in enumerate(ranked)}
    counts = np.zeros((len(sparse), n_features), dtype=np.float32)
    for i, row in enumerate(sparse):
        for environment, count in row.items():
            if environment in column:
                counts[i, column[environment]] = count
    return counts
