"""A sweep plans one parameter at a time, from what the dataset declares or the command line says."""

from __future__ import annotations

import pytest

from bench.api import dataset
from bench.errors import UsageError
from bench.registry import Registry, discover, parameters
from bench.run.plan import Selection, plan, resolve
from bench.run.sweep import parse_sweeps
from bench.validation import check_metadata


@pytest.fixture(scope="module")
def found() -> Registry:
    return discover()


def data_params(found: Registry, *sweeps: str, **more: object) -> list[dict[str, object]]:
    values = {"learners": ["pca"], "budget": "smoke", "repetitions": [0]} | more
    return [dict(cell.spec.dataset_params) for cell in plan(Selection(**values, sweeps=sweeps), found)]  # type: ignore[arg-type]


def test_values_of_one_parameter_and_nothing_else_changes(found: Registry) -> None:
    usual = resolve(found.dataset("nonlinear-causal"), "smoke", {})
    made = data_params(found, "nonlinear-causal.n_mixing_layers=1,3")
    assert made == [usual, usual | {"n_mixing_layers": 3}]


def test_values_that_meet_in_one_cell_are_planned_once(found: Registry) -> None:
    """The usual value of one parameter is that of every other."""
    made = data_params(found, "sparse-tasks.rho=0,0.5", "sparse-tasks.support=bernoulli,blocks")
    assert [(own["rho"], own["support"]) for own in made] == [(0.0, "bernoulli"), (0.5, "bernoulli"), (0.0, "blocks")]


def test_declared_values_stand_in_for_those_left_out(found: Registry) -> None:
    declared = found.dataset("tcl-segments").difficulty["n_layers"]
    for sweep in ("tcl-segments.n_layers", "tcl-segments", "tcl-seg*"):
        assert [own["n_layers"] for own in data_params(found, sweep)] == list(declared)
    assert set(parse_sweeps(["*"], found)) == {name for name, info in found.datasets.items() if info.difficulty}


def test_set_holds_for_the_whole_sweep(found: Registry) -> None:
    made = data_params(found, "nonlinear-causal.n_tasks=20,40", settings=["nonlinear-causal.d=3"])
    assert [(own["d"], own["n_tasks"]) for own in made] == [(3, 20), (3, 40)]


def test_every_declared_value_is_one_the_dataset_takes(found: Registry) -> None:
    for info in found.datasets.values():
        for name, values in info.difficulty.items():
            assert parameters(info)[name] in values, f"{info.name}: the usual {name} is not on its curve"
            for own in data_params(found, f"{info.name}.{name}", budget="standard"):
                assert own[name] in values


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("nonlinear-casual.d=5", "did you mean nonlinear-causal"),
        ("nonlinear-casual", "did you mean nonlinear-causal"),
        ("nonlinear-causal.dd=5", "unknown parameter of nonlinear-causal: 'dd'"),
        ("nonlinear-causal.d=5,x", "'x' is not a whole number"),
        ("nonlinear-causal=5", "write DATASET.PARAMETER=VALUE,VALUE"),
        ("nonlinear-causal.k", "declares no values of 'k'; write nonlinear-causal.k=VALUE,VALUE"),
        ("clusters", "declares no difficulty"),
    ],
)
def test_mistakes_are_named(found: Registry, sweep: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        data_params(found, sweep)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [{"d": 5}, {"d": [5]}, {"d": [5, float("nan")]}, [5, 10]])
def test_a_dataset_that_declares_nonsense_is_told(value: object) -> None:
    with pytest.raises(ValueError, match="difficulty"):
        check_metadata("dataset", ["mine"], {"difficulty": value})


def test_what_a_dataset_declares_is_kept() -> None:
    @dataset("mine", paper="", difficulty={"d": [5, 10]})
    def mine(*, seed: int, d: int = 5) -> None: ...

    assert mine.__bench__[0].difficulty == {"d": (5, 10)}  # type: ignore[attr-defined]
