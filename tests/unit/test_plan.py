"""Selections become cells; what cannot run carries its reason; what is misspelt is named with its neighbours."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.api import DatasetInfo, LearnerInfo, learner
from bench.errors import UsageError
from bench.registry import Registry, discover
from bench.run.plan import Selection, parse_seeds, plan, resolve, why_not
from bench.run.spec import RunSpec, derive_seed


@pytest.fixture(scope="module")
def found() -> Registry:
    return discover()


@learner(
    "patient-on-images",
    guarantee="none",
    paper="none",
    accepts=("vector", "image"),
    budgets={"smoke": {"rate": 0.5}},
    by_kind={"image": {"steps": 7, "rate": 0.25}},
)
class _PatientOnImages:
    def __init__(self, steps: int = 3, rate: float = 0.1) -> None:
        self.steps, self.rate = steps, rate


def cells(found: Registry, **values: object) -> list[RunSpec]:
    values = {"learners": ["raw", "pca"], "datasets": ["linear-causal"], "budget": "smoke"} | values
    return [cell.spec for cell in plan(Selection(**values), found)]  # type: ignore[arg-type]


def test_seeds_differ_by_repetition_and_are_shared_where_they_must_be(found: Registry) -> None:
    specs = cells(found, repetitions=[0, 1])
    assert [(spec.learner, spec.repetition) for spec in specs] == [("raw", 0), ("pca", 0), ("raw", 1), ("pca", 1)]
    assert specs[0].data_seed == specs[1].data_seed != specs[2].data_seed
    assert len({spec.model_seed for spec in specs}) == 4
    assert len({spec.key for spec in specs}) == 4


def test_data_seed_fixes_the_data_alone(found: Registry) -> None:
    specs = cells(found, repetitions=[0, 1], data_seed=7, learners=["raw"])
    assert specs[0].data_seed == specs[1].data_seed
    assert specs[0].model_seed != specs[1].model_seed


def test_equal_specs_have_equal_keys_and_survive_json(found: Registry) -> None:
    import json

    first, again = cells(found, repetitions=[0], learners=["raw"]) + cells(found, repetitions=[0], learners=["raw"])
    assert first.key == again.key
    assert RunSpec.from_dict(json.loads(first.canonical())).key == first.key


@pytest.mark.parametrize(
    ("budget", "kind", "settings", "expected"),
    [
        ("standard", "vector", {}, {"steps": 3, "rate": 0.1}),
        ("standard", "image", {}, {"steps": 7, "rate": 0.25}),
        ("smoke", "image", {}, {"steps": 7, "rate": 0.5}),
        ("standard", "image", {"steps": "9"}, {"steps": 9, "rate": 0.25}),
    ],
)
def test_settings_by_kind_of_input_stand_between_defaults_and_budget(
    budget: str, kind: str, settings: dict[str, str], expected: dict[str, float]
) -> None:
    info = replace(_PatientOnImages.__bench__[0], origin=__name__, attribute="_PatientOnImages")  # type: ignore[attr-defined]
    assert resolve(info, budget, settings, kind) == expected


def test_a_version_may_be_raised_on_one_kind_of_input_alone(found: Registry) -> None:
    graphs = {"datasets": ["linear-causal", "tiny-graphs"], "learners": ["raw"], "repetitions": [0]}
    before = cells(found, **graphs)
    raised = replace(found.learners["raw"], versions={"graph": found.learners["raw"].version + 1})
    after = cells(replace(found, learners={**found.learners, "raw": raised}), **graphs)
    assert [new.learner_version - old.learner_version for old, new in zip(before, after, strict=True)] == [0, 1]
    assert [old.key == new.key for old, new in zip(before, after, strict=True)] == [True, False]


def test_settings_reach_learners_and_datasets(found: Registry) -> None:
    spec = cells(found, settings=["linear-causal.d=4", "linear-causal.mixing=orthogonal"], repetitions=[0])[0]
    assert (spec.dataset_params["d"], spec.dataset_params["mixing"]) == (4, "orthogonal")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learners": ["pcaa"]}, "unknown learner 'pcaa'; did you mean pca"),
        ({"datasets": ["linear-casual"]}, "unknown dataset 'linear-casual'; did you mean linear-causal"),
        ({"budget": "standart"}, "unknown budget 'standart'; did you mean standard"),
        ({"settings": ["linear-causal.noice=1"]}, "unknown parameter of linear-causal: 'noice'; did you mean noise"),
        ({"settings": ["linear-causal.d=abc"]}, "'abc' is not a whole number"),
        ({"settings": ["linear-causal.d=2.5"]}, "'2.5' is not a whole number"),
        ({"settings": ["nonsense"]}, "write LEARNER.PARAM=VALUE"),
        ({"settings": ["qm9.max_rows=5"]}, "'qm9' is not among the selected"),
        ({"settings": ["qm8.x=5"]}, "unknown learner or dataset 'qm8'; did you mean qm9"),
    ],
)
def test_mistakes_are_named_with_the_way_out(found: Registry, values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        cells(found, **values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("learner", "dataset", "reason"),
    [
        ({"needs": ("aux",)}, {"provides": ("targets",)}, "needs an auxiliary variable, which the data has not"),
        ({"needs": ("labels|aux",)}, {}, "needs class labels or an auxiliary variable, which the data has not"),
        ({"needs": ("labels|aux",)}, {"provides": ("aux",)}, ""),
        ({"needs": ("truth",)}, {"truth": False}, "needs the true latents, which the data has not"),
        ({}, {"kind": "graph"}, "takes vector inputs, the data is graphs"),
        ({"requires": ("no_such_package",)}, {}, "a needs the package no_such_package: pip install no_such_package"),
    ],
)
def test_reasons_are_words(learner: dict[str, object], dataset: dict[str, object], reason: str) -> None:
    assert why_not(LearnerInfo(name="a", **learner), DatasetInfo(name="b", **dataset)) == reason  # type: ignore[arg-type]


def test_seed_ranges() -> None:
    assert parse_seeds("0-2,5, 1") == [0, 1, 2, 5]
    for wrong in ("", "a", "3-1", "1-", "-1"):
        with pytest.raises(UsageError, match="neither a number nor a range"):
            parse_seeds(wrong)


@given(st.lists(st.text(max_size=8), min_size=2, max_size=2, unique=True))
def test_derived_seeds_depend_on_every_part(names: list[str]) -> None:
    assert derive_seed(names[0], 0) != derive_seed(names[1], 0)
    assert derive_seed(names[0], names[1]) == derive_seed(names[0], names[1])
    assert 0 <= derive_seed(*names) < 2**32
