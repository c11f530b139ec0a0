"""Effort scales what a learner declares; convergence is judged by the learner's own loss."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.api import LearnerInfo
from bench.errors import UsageError
from bench.registry import discover
from bench.report.rows import boards
from bench.run.effort import parse_efforts, scaled
from bench.run.plan import Selection, plan
from bench.statistics.convergence import from_doubling, from_history, judged
from tests.unit.test_report import FOUND
from tests.unit.test_report import record as report_record


def curve(loss: list[float], best: int | None = None, steps: int = 100) -> dict:
    best_index = min(range(len(loss)), key=loss.__getitem__)
    at = round(steps * (best_index + 1) / len(loss)) if best is None else best
    return {"validation_curve": loss, "validation_loss": min(loss), "best_step": at, "steps": steps}


def test_efforts_are_read_as_fractions() -> None:
    assert parse_efforts("4,1/8,1, 0.5") == [0.125, 0.5, 1.0, 4.0]
    for wrong in ("", "0", "-1", "1/0", "x", "1e9", "nan", "inf"):
        with pytest.raises(UsageError, match="--effort"):
            parse_efforts(wrong)


def test_effort_scales_the_declared_parameters_alone() -> None:
    info = LearnerInfo("l", effort=("steps",))
    assert scaled({"steps": 100, "width": 100}, info, 0.25) == {"steps": 25, "width": 100}
    assert scaled({"steps": 1, "width": 100}, info, 0.1) == {"steps": 1, "width": 100}
    found = discover()
    chosen = Selection(learners=["pca", "vae"], datasets=["linear-causal"], repetitions=[0], efforts=(0.5, 2.0))
    cells = [(cell.spec.learner, cell.spec.effort) for cell in plan(chosen, found)]
    assert sorted(cells) == [("pca", 1.0), ("vae", 0.5), ("vae", 2.0)]
    assert len({cell.spec.key for cell in plan(chosen, found)}) == 3


def test_every_learner_trained_in_steps_declares_its_effort() -> None:
    from bench import registry

    found = discover()
    for info in found.learners.values():
        if "truth" not in info.needs and "steps" in registry.parameters(info):
            assert "steps" in info.effort, info.name
        for name in info.effort:
            assert isinstance(registry.parameters(info)[name], int), info.name


def test_losses_with_a_known_answer() -> None:
    falling = [1.0 / (1 + i) for i in range(20)]
    assert from_history(curve(falling)).converged is False
    settled = [math.exp(-i) for i in range(20)]
    assert from_history(curve(settled)).converged is True
    overfit = [1.0, 0.5, 0.2, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert from_history(curve(overfit)).converged is True
    late_drop = [1.0] + [0.5] * 18 + [0.1]
    assert from_history(curve(late_drop)).converged is False
    assert from_history({}).converged is None
    assert from_history(None).converged is None
    assert from_history({"converged": False, "converged_reason": "gradient 0.1"}).reason == "gradient 0.1"
    cut = from_history(curve(settled) | {"discarded_steps": 30})
    assert cut.converged is False
    assert "30 steps were thrown away" in cut.reason


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=30), st.floats(0.1, 10), st.floats(-100, 100))
def test_the_rule_knows_no_units(loss: list[float], factor: float, shift: float) -> None:
    grid = [round(value, 3) for value in loss]
    plain = from_history(curve(grid)).converged
    best = curve(grid)["best_step"]
    moved = from_history(curve([factor * value + shift for value in grid], best=best)).converged
    quarter, half, whole = (min(grid[: max(1, int(part * len(grid)))]) for part in (0.25, 0.5, 1.0))
    if abs((half - whole) - 0.05 * (quarter - half)) > 1e-6 * (1 + max(map(abs, grid))):
        assert plain == moved


def test_the_height_of_the_first_loss_decides_nothing() -> None:
    """Annealed losses start anywhere: a run that still gains must not pass for it."""
    gaining = [5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 4.4, 4.3]
    assert from_history(curve(gaining)).converged is False
    assert from_history(curve([1e6, *gaining[1:]])).converged is False
    assert from_doubling(curve([1e6, *gaining[1:]]), curve([4.3, 4.2, 4.1, 4.0])).converged is False


def test_twice_the_training_is_the_better_judge() -> None:
    short, long = curve([2.0, 1.5, 1.2, 1.1]), curve([2.0, 1.3, 1.12, 1.0999])
    assert from_history(short).converged is False
    assert from_doubling(short, long).converged is True
    assert from_doubling(short, curve([2.0, 1.0, 0.6, 0.5])).converged is False
    assert from_doubling({}, long).converged is None
    unstated = {name: value for name, value in long.items() if name != "validation_loss"}
    assert from_doubling(short, unstated).converged is True, "the curve says it too"
    spec = {"learner": "l", "dataset": "d", "repetition": 0}
    records = [
        {"spec": {**spec, "effort": effort}, "status": "ok", "history": history}
        for effort, history in ((2.0, long), (1.0, short))
    ]
    verdicts = {record["spec"]["effort"]: record["converged"] for record in judged(records)}
    assert verdicts == {1.0: False, 2.0: True}


def test_the_board_judges_a_cell_by_its_shorter_run() -> None:
    short, long = curve([2.0, 1.5, 1.2, 1.1]), curve([2.0, 1.3, 1.12, 1.0999])
    records = [report_record("mtlcm", 0, mcc=0.9) for _ in range(2)]
    for one, effort, history in zip(records, (1.0, 2.0), (short, long), strict=True):
        one["spec"] = {**one["spec"], "effort": effort}
        one["history"] = history
    assert from_history(long).converged is False, "its own curve cannot say it"
    (board,) = boards(records, FOUND, {})
    assert not board.rows[0].unconverged
    (alone,) = boards(records[:1], FOUND, {})
    assert alone.rows[0].unconverged


def test_of_two_trainings_the_board_shows_the_one_with_the_lower_validation_loss() -> None:
    """A longer training that ends worse, by the learner's own loss, is not held against it."""
    falling, worse = curve([2.0, 1.5, 1.2, 1.1]), curve([2.0, 1.9, 1.8, 1.3])
    records = [report_record("mtlcm", 0, mcc=value) for value in (0.9, 0.5)]
    for one, effort, history in zip(records, (1.0, 4.0), (falling, worse), strict=True):
        one["spec"] = {**one["spec"], "effort": effort}
        one["history"] = history
    (board,) = boards(records, FOUND, {})
    (row,) = board.rows
    assert row.values("mcc") == [0.9]
    assert not row.unconverged
    assert [record["spec"]["effort"] for record in row.every_record] == [1.0, 4.0], "the other one stays to be seen"
    assert row.records[0]["converged_reason"] == "training 4 times as long did not lower the validation loss"
    records[1]["history"] = curve([2.0, 1.2, 1.0, 0.9])
    (board,) = boards(records, FOUND, {})
    assert board.rows[0].values("mcc") == [0.5], "its loss is lower, whatever its score"


def test_a_longer_training_that_failed_stays_visible() -> None:
    records = [report_record("mtlcm", 0, mcc=0.9) for _ in range(2)]
    records[1]["spec"] = {**records[1]["spec"], "effort": 4.0}
    records[1] |= {"status": "diverged", "reason": "the loss left the finite numbers"}
    (board,) = boards(records, FOUND, {})
    assert board.rows[0].trouble().startswith("1 diverged of 1")
