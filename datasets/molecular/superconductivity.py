"""Superconductors: from the chemical composition to 81 features of it and the critical temperature (UCI 464)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.api import BadData, Data, dataset
from datasets.molecular.splits import pool, real_data
from datasets.molecular.tables import read_table
from datasets.sources import locate
from datasets.synthetic.common import require_choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PERIODIC_TABLE = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn"
)
ELEMENTS = tuple(PERIODIC_TABLE.split())
PROPERTIES = (
    "atomic_mass", "fie", "atomic_radius", "Density", "ElectronAffinity", "FusionHeat", "ThermalConductivity", "Valence"
)  # fmt: skip
STATISTICS = (
    "mean", "wtd_mean", "gmean", "wtd_gmean", "entropy", "wtd_entropy", "range", "wtd_range", "std", "wtd_std"
)  # fmt: skip
FEATURES = ("number_of_elements", *(f"{statistic}_{prop}" for prop in PROPERTIES for statistic in STATISTICS))
TARGET = "critical_temp"


@dataset(
    "superconductivity",
    properties={
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="Hamidieh, Computational Materials Science 2018 (UCI 464); used by Chen et al., TMLR 2024",
    summary="86 element fractions to 81 composition features and the critical temperature of superconductors",
    version=2,
    provides=("targets",),
    truth=False,
    source="superconductivity",
    budgets={"smoke": {"rows": 600}, "paper": {"rows": None}},
)
def superconductivity(
    *,
    seed: int,
    rows: int | None = 5000,
    n_latents: int = 10,
    inputs: Literal["amounts", "fractions"] = "fractions",
    leak_tc: bool = False,
) -> Data:
    """Load the data: x (n, 86) element fractions, not standardised; 82 standardised targets.

    rows        at most this many superconductors, chosen by their composition, the same for every seed; None: all
    n_latents   10, as in the released configuration of Chen et al.
    inputs      the element columns as "fractions" of all atoms, or as the "amounts" of the formula. Formulas differ in
                scale and a few hold misprints such as O6050: with amounts such rows decide every linear fit, while the
                81 features depend on the fractions alone
    leak_tc     feed the critical temperature (K) in as an 87th input although it is also a target, as the released
                program of that paper does: for comparison only

    Rows of one composition are all held out or all not. Raises MissingData, BadData.
    """
    import numpy as np

    require_choice("inputs", inputs, ("amounts", "fractions"))
    located = locate("superconductivity")
    x, targets, mismatches = read_files(located.path, located.label)
    info = located.describe(rows=len(x))
    chosen = pool([row.tobytes() for row in x], rows)
    x, targets = x[chosen.rows], targets[chosen.rows]
    if inputs == "fractions":
        x = x / x.sum(1, keepdims=True)
    if leak_tc:
        x = np.column_stack([x, targets[:, -1]])
        info |= {"title": f"{info['title']}, T_c leaked into x"}
    info |= {"inputs": inputs, "leak_tc": leak_tc, "temperature_mismatches": mismatches}
    return real_data(x, targets, chosen.held_out, seed=seed, n_latents=n_latents, info=info)


def read_files(path: Path, label: str = "") -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Element amounts (n, 86), targets (n, 82), and in how many rows the two tables state different temperatures."""
    import numpy as np

    amounts, _ = read_table(path, "unique_m.csv", (*ELEMENTS, TARGET), label=label)
    targets, _ = read_table(path, "train.csv", (*FEATURES, TARGET), label=label)
    if (empty := amounts[:, :-1].sum(1) <= 0).any():
        raise BadData(f"{label or path.name}: unique_m.csv: row {int(np.argmax(empty)) + 1}: no element in it")
    if len(amounts) != len(targets):
        raise BadData(
            f"{label or path.name}: unique_m.csv has {len(amounts)} rows and train.csv {len(targets)}; they must agree"
        )
    differ = ~np.isclose(amounts[:, -1], targets[:, -1], rtol=1e-3, atol=1e-6)
    # the two tables are joined by row number alone: a few different roundings are a flaw, many another order
    if differ.sum() > 0.01 * len(differ):
        row = int(np.argmax(differ))
        raise BadData(
            f"{label or path.name}: row {row + 1}, column '{TARGET}': {amounts[row, -1]:g} in unique_m.csv and "
            f"{targets[row, -1]:g} in train.csv; the tables are not in the same order"
        )
    return amounts[:, :-1], targets, int(differ.sum())


def check_file(path: Path, label: str = "") -> int:
    """Read all of a file with every check; returns its number of superconductors. Raises BadData."""
    return len(read_files(path, label)[0])
