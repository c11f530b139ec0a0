"""What theorems assume and what data have, as names; and whether a learner's theorem holds on a dataset.

A learner names the assumptions of its guarantee (``assumes`` of ``bench.api.learner``), a dataset says which of them
its data meet (``properties`` of ``bench.api.dataset``): "yes", "nearly" or "no"; what it does not mention is unknown.
Where that depends on parameters, the answer is a mapping of conditions to answers; the first that is met counts::

    properties={
        "injective-mixing": "yes",
        "linear-mixing": {"n_layers=1": "yes", "otherwise": "no"},
        "heads-span": {"n_tasks<d": "no", "binary=true": "nearly", "otherwise": "yes"},
    }

A condition compares a parameter with a number, a word, true, false or another parameter, by = < > <= or >=.
Known d and a global optimum are assumed by all theorems and are no property of the data.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bench.api import DatasetInfo, LearnerInfo

Answer = Literal["yes", "nearly", "no", "unknown"]
Property = str | Mapping[str, str]

VOCABULARY = {
    "injective-mixing": "x, its additive noise apart, is an injective function of the factors",
    "linear-mixing": "x, its additive noise apart, is an injective affine function of the factors",
    "heads-span": "given the task the target is linear in the factors, and the tasks' coefficients span R^d",
    "classified-by-hyperplanes": "all tasks classify every sample, by hyperplanes whose normals span R^d",
    "isotropic-noise": "the noise of x is white and alike on all factors",
    "gaussian-given-target": "given task and target the factors are Gaussian and uncorrelated; variances change",
    "sparse-separating-heads": "targets depend on few factors each, and the supports tell any two factors apart",
    "grouped-tasks": "every task needs few factors, and groups of factors are shared by tasks",
    "factorised-given-u": "given u (and the target) the factors are independent, and vary enough with it",
    "exponential-given-u": "p(z | u) is an exponential family in (z_j, z_j²) over one base measure, varying enough",
    "independent-non-gaussian": "the factors are independent and at most one of them is Gaussian",
    "vmf-clusters-span": "classes are von Mises-Fisher clusters on a sphere whose centres span R^d",
    "instance-views": "there are several views of every instance",
    "sizes-are-truth": "x is injective in factors of which the absolute values |z_j| are to be recovered",
}

# The least of the answers decides: one assumption that fails is enough, whatever is unknown of the others.
_ORDER: tuple[Answer, ...] = ("no", "unknown", "nearly", "yes")
_DECLARED = ("yes", "nearly", "no")
OTHERWISE = "otherwise"
_CONDITION = re.compile(r"(\w+)\s*(<=|>=|=|<|>)\s*(\S+)")
_COMPARE = {"=": operator.eq, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}


def theorem_holds(learner: LearnerInfo, dataset: DatasetInfo, params: Mapping[str, Any]) -> tuple[Answer, str]:
    """Does the learner's theorem hold on this dataset with these parameters, and why (not)?

    params   all of the dataset's parameters, as a cell's spec has them
    "no" if one of its assumptions fails or it has no theorem, else "unknown" if the dataset does not say of one of
    them, else "nearly" or "yes". Oracles, which read the truth, need no theorem: "yes".
    """
    if "truth" in learner.needs and learner.guarantee != "none" and not learner.assumes:
        return "yes", "it is made from the truth"
    if not learner.assumes:
        if learner.guarantee == "none":
            return "no", "no theorem says that it recovers the factors"
        return "unknown", f"'{learner.name}' does not say what its guarantee assumes"
    answers = {name: property_of(dataset, name, params) for name in learner.assumes}
    worst = min(answers.values(), key=_ORDER.index)
    words = [VOCABULARY[name] for name, answer in answers.items() if answer == worst]
    return worst, {
        "yes": "all that it assumes is so: ",
        "nearly": "nearly so: ",
        "no": "not so: ",
        "unknown": "not known whether ",
    }[worst] + "; ".join(words)


def property_of(dataset: DatasetInfo, name: str, params: Mapping[str, Any]) -> Answer:
    """The dataset's answer to one name of the vocabulary; "unknown" where it gives none for these parameters."""
    said = dataset.properties.get(name)
    if isinstance(said, Mapping):
        said = next((answer for condition, answer in said.items() if _met(condition, params)), None)
    return said if said in _DECLARED else "unknown"  # type: ignore[return-value]


def check_assumes(learner: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple. Raises ValueError for one that is not in the vocabulary."""
    found = tuple(names)
    for name in found:
        _require_known(f"learner '{learner}' assumes", name)
    return found


def check_properties(dataset: str, properties: Mapping[str, Property]) -> dict[str, Property]:
    """The properties as a dict. Raises ValueError for an unknown name, answer or condition."""
    for name, said in properties.items():
        _require_known(f"dataset '{dataset}' has the property", name)
        for condition, answer in said.items() if isinstance(said, Mapping) else ((OTHERWISE, said),):
            if answer not in _DECLARED:
                raise ValueError(f"dataset '{dataset}', {name}: '{answer}' is none of {', '.join(_DECLARED)}")
            if condition != OTHERWISE and not _CONDITION.fullmatch(condition):
                raise ValueError(
                    f"dataset '{dataset}', {name}: cannot read the condition '{condition}'; write parameter=value"
                )
    return dict(properties)


def parameters_named(properties: Mapping[str, Property]) -> set[str]:
    """The parameters that conditions of these properties start with."""
    conditions = [condition for said in properties.values() if isinstance(said, Mapping) for condition in said]
    return {match[1] for condition in conditions if (match := _CONDITION.fullmatch(condition))}


def _require_known(who: str, name: str) -> None:
    if name not in VOCABULARY:
        raise ValueError(f"{who} '{name}', which is not one of {', '.join(VOCABULARY)} (bench/assumptions.py)")


def _met(condition: str, params: Mapping[str, Any]) -> bool:
    if condition == OTHERWISE:
        return True
    match = _CONDITION.fullmatch(condition)
    if match is None or match[1] not in params:
        return False
    value, sign, text = params[match[1]], match[2], match[3]
    other = params[text] if text in params else _literal(text)
    if isinstance(value, int | float) and isinstance(other, int | float):
        return bool(_COMPARE[sign](value, other))
    return sign == "=" and value == other


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text in words:
        return words[text]
    try:
        return float(text)
    except ValueError:
        return text
