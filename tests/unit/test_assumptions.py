"""Which theorem holds where: declared by every plugin, checked against the vocabulary, used in the ranks."""

from __future__ import annotations

import json

import pytest

from bench.api import DatasetInfo, LearnerInfo, dataset, learner
from bench.assumptions import VOCABULARY, check_properties, parameters_named, property_of, theorem_holds
from bench.cli import main
from bench.registry import discover, parameters
from bench.report.holding import broken_promises, holds, where_held
from bench.report.lead import leads
from bench.report.ranking import ranking
from bench.report.rows import boards
from tests.unit.test_report import record

FOUND = discover()
BUILT_IN = ("baselines.", "mtlcm.", "datasets.", "bench.")
LEARNERS = [info for info in FOUND.learners.values() if info.origin.startswith(BUILT_IN)]
DATASETS = [info for info in FOUND.datasets.values() if info.origin.startswith(BUILT_IN)]


@pytest.mark.parametrize("info", LEARNERS, ids=lambda info: info.name)
def test_every_learner_with_a_guarantee_says_what_it_assumes(info: LearnerInfo) -> None:
    assert set(info.assumes) <= set(VOCABULARY)
    assert info.assumes or info.guarantee == "none" or "truth" in info.needs


@pytest.mark.parametrize("info", DATASETS, ids=lambda info: info.name)
def test_every_dataset_says_what_it_is_like_by_parameters_it_has(info: DatasetInfo) -> None:
    assert info.properties or info.on_request, "of a file of the user's nothing is known"
    assert parameters_named(info.properties) <= set(parameters(info))


def test_unknown_names_answers_and_conditions_are_refused() -> None:
    with pytest.raises(ValueError, match="learner 'x' assumes 'luck', which is not one of injective-mixing"):
        learner("x", guarantee="linear", paper="", assumes=("luck",))
    with pytest.raises(ValueError, match="dataset 'x' has the property 'luck'"):
        dataset("x", paper="", properties={"luck": "yes"})
    with pytest.raises(ValueError, match="'maybe' is none of yes, nearly, no"):
        dataset("x", paper="", properties={"heads-span": "maybe"})
    with pytest.raises(ValueError, match="cannot read the condition 'rho is 0'"):
        dataset("x", paper="", properties={"heads-span": {"rho is 0": "yes"}})


def test_the_first_condition_that_is_met_answers() -> None:
    said = {
        "heads-span": {"n_tasks<d": "no", "binary=true": "nearly", "otherwise": "yes"},
        "linear-mixing": {"mixing=random": "yes", "noise<=0.1": "nearly"},
    }
    info = DatasetInfo("x", properties=check_properties("x", said))

    def answer(name: str, **params: object) -> str:
        return property_of(info, name, params)

    assert answer("heads-span", n_tasks=3, d=5, binary=True) == "no"
    assert answer("heads-span", n_tasks=5, d=5, binary=True) == "nearly"
    assert answer("heads-span", n_tasks=5, d=5, binary=False) == "yes"
    assert answer("linear-mixing", mixing="random", noise=1.0) == "yes"
    assert answer("linear-mixing", mixing="orthogonal", noise=0.1) == "nearly"
    assert answer("linear-mixing", mixing="orthogonal", noise=0.2) == "unknown"
    assert answer("injective-mixing") == "unknown"


@pytest.mark.parametrize(
    ("answers", "expected", "word"),
    [
        (("yes", "yes"), "yes", "all that it assumes"),
        (("yes", "nearly"), "nearly", "heads-span"),
        (("nearly", ""), "unknown", "heads-span"),
        (("no", ""), "no", "injective-mixing"),
    ],
)
def test_the_worst_assumption_decides(answers: tuple[str, str], expected: str, word: str) -> None:
    names = ("injective-mixing", "heads-span")
    properties = {name: answer for name, answer in zip(names, answers, strict=True) if answer}
    info = LearnerInfo("x", guarantee="linear", assumes=names)
    answer, why = theorem_holds(info, DatasetInfo("y", properties=properties), {})
    assert answer == expected
    assert VOCABULARY.get(word, word) in why


def test_learners_without_a_theorem_and_oracles() -> None:
    data = FOUND.dataset("linear-causal")
    assert theorem_holds(FOUND.learner("vae"), data, parameters(data))[0] == "no"
    assert theorem_holds(FOUND.learner("oracle"), data, parameters(data))[0] == "yes"
    assert theorem_holds(LearnerInfo("new", guarantee="linear"), data, parameters(data))[0] == "unknown"


@pytest.mark.parametrize(
    ("name", "where", "changes", "expected"),
    [
        ("ivae", "tcl-segments", {}, "yes"),
        ("ivae", "tcl-segments", {"coupling": 0.5}, "no"),
        ("icarl", "tcl-segments", {"coupling": 0.5}, "yes"),
        ("tcl", "tcl-segments", {}, "no"),
        ("tcl", "tcl-segments", {"sizes": True}, "yes"),
        ("diet", "clusters", {}, "no"),
        ("diet", "clusters", {"n_instances": 2000}, "yes"),
        ("single-task-classification", "clusters", {"distribution": "laplace"}, "nearly"),
        ("sparse-bilevel", "sparse-tasks", {}, "yes"),
        ("sparse-bilevel", "sparse-tasks", {"support": "blocks"}, "no"),
        ("mtlcm", "linear-causal", {}, "nearly"),
        ("mtlcm", "linear-causal", {"k": 1}, "yes"),
        ("mtlcm", "sparse-tasks", {}, "no"),
        ("rrr", "nonlinear-causal", {"n_mixing_layers": 3}, "no"),
        ("mtrn", "qm9", {}, "unknown"),
    ],
)
def test_what_the_papers_say(name: str, where: str, changes: dict, expected: str) -> None:
    data = FOUND.dataset(where)
    assert theorem_holds(FOUND.learner(name), data, parameters(data) | changes)[0] == expected


def test_the_list_carries_them(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for kind in ("learners", "datasets") for row in listed[kind]}
    assert rows["mtrn"]["assumes"] == ["injective-mixing", "heads-span"]
    assert rows["clusters"]["properties"]["instance-views"] == {"n_instances=0": "no", "otherwise": "yes"}


def test_ranks_and_leads_among_those_whose_theorem_holds_come_first() -> None:
    scores = {"sparse-bilevel": 0.99, "mtlcm": 0.6, "ivae": 0.5}
    records = [record(name, seed, mcc=value + seed / 1000) for name, value in scores.items() for seed in range(3)]
    (board,) = boards(records, FOUND, {})
    assert [row.name for row in board.rows if holds(row, board)] == ["mtlcm", "ivae"]
    assert [row.name for row in where_held(board).rows] == ["mtlcm", "ivae"]
    first, second = leads(board)
    words = "First by MCC among learners whose theorem promises it and holds or nearly holds here: `mtlcm`"
    assert first.startswith(words)
    assert second.startswith("First by MCC among all: `sparse-bilevel`")
    text = ranking([board])
    held, everyone = text.split("### By MCC, all learners on all datasets")
    assert "| mtlcm" in held.replace("**", "")
    assert "sparse-bilevel" not in held
    assert "sparse-bilevel" in everyone


def test_learners_that_fail_where_their_theorem_holds_are_listed_worst_first() -> None:
    records = [record("mtlcm", seed, mcc=0.99) for seed in range(2)]
    records += [record("ivae", seed, mcc=0.5) for seed in range(2)]
    records += [record("icarl", seed, mcc=0.0, status="failed") for seed in range(2)]
    records += [record("sparse-bilevel", seed, mcc=0.1) for seed in range(2)]  # promises nothing here
    found = broken_promises(boards(records, FOUND, {}))
    assert [(item.row.name, item.answer) for item in found] == [("icarl", "nearly"), ("ivae", "nearly")]
    assert found[1].score is not None
    assert found[1].score.mean == pytest.approx(0.5)
    assert "Gaussian" not in found[1].why
    assert [item.row.name for item in broken_promises(boards(records, FOUND, {}), bar=0.4)] == ["icarl"]
