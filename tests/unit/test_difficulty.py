"""The difficulty page: which boards make a curve, in which order, where a learner stops working, and its pictures."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from bench.api import DatasetInfo
from bench.registry import Registry
from bench.report import difficulty
from bench.report.curves import Curve, Point
from bench.report.difficulty import Knob, knobs, pages, panels, works_up_to
from bench.report.labelled import grouped, spread
from bench.report.rows import Board, boards
from tests.unit.test_report import FOUND, record

DATA = DatasetInfo(name="linear-causal", difficulty={"d": (5, 10, 20), "n_tasks": (200, 20)})
REGISTRY = Registry(learners=FOUND.learners, datasets={"linear-causal": DATA})


def board_of(params: dict[str, object], **scores: float) -> list[dict]:
    """Records of one set of dataset parameters: {learner: MCC}."""
    made = [record(name, 0, mcc=value) for name, value in scores.items()]
    for own in made:
        own["spec"]["dataset_params"] = {"d": 5, "n_tasks": 200, "kind": "a", **params}
    return made


def made(*groups: list[dict]) -> list[Board]:
    return boards([own for group in groups for own in group], REGISTRY, {})


FALLING = (
    board_of({}, mtlcm=0.88, oracle=0.9),
    board_of({"d": 20}, mtlcm=0.3),
    board_of({"d": 10}, mtlcm=0.85),
    board_of({"n_tasks": 20}, mtlcm=0.88),
)


def knob(parameter: str, *groups: list[dict]) -> Knob:
    return next(own for own in knobs(made(*groups)) if own.parameter == parameter)


def test_a_curve_has_the_boards_that_differ_in_one_parameter() -> None:
    found = {own.parameter: own.values for own in knobs(made(*FALLING))}
    assert found == {"d": ["5", "10", "20"], "n_tasks": ["200", "20"]}, "from easy to hard, as declared"


def test_values_that_are_not_declared_follow_their_number() -> None:
    more = board_of({"n_tasks": 50}, mtlcm=0.5)
    assert knob("n_tasks", *FALLING, more).values == ["200", "50", "20"]


def test_words_stand_in_their_declared_order() -> None:
    declared = DatasetInfo(name="linear-causal", difficulty={"kind": ("b", "c", "a")})
    registry = Registry(learners=FOUND.learners, datasets={"linear-causal": declared})
    records = [own for kind in "abcd" for own in board_of({"kind": kind}, mtlcm=0.5)]
    (found,) = knobs(boards(records, registry, {}))
    assert found.values == ["b", "c", "a", "d"]


@pytest.mark.parametrize(
    ("last", "answer"),
    [(0.3, "10"), (0.85, "all")],  # chance 0.1 and ceiling 0.9: 0.82 is nine tenths of the way
)
def test_where_a_learner_stops(last: float, answer: str) -> None:
    groups = [*FALLING[:1], *FALLING[2:], board_of({"d": 20}, mtlcm=last)]
    assert works_up_to(knob("d", *groups), "mtlcm") == answer


def test_a_learner_that_never_works_and_one_that_recovers_late() -> None:
    groups = (board_of({}, mtlcm=0.2), board_of({"d": 10}, mtlcm=0.9), board_of({"d": 20}, mtlcm=0.9))
    assert works_up_to(knob("d", *groups), "mtlcm") == "none"


def test_a_failed_cell_does_not_work() -> None:
    broken = record("mtlcm", 0, status="failed")
    broken["spec"]["dataset_params"] = {"d": 10, "n_tasks": 200, "kind": "a"}
    groups = (board_of({}, mtlcm=0.9), [broken], board_of({"d": 20}, mtlcm=0.9))
    assert works_up_to(knob("d", *groups), "mtlcm") == "5"


def test_a_panel_has_chance_and_ceiling_and_no_line_for_the_truth_itself() -> None:
    first = panels(knob("d", *FALLING))[0]
    assert [curve.name for curve in first.curves] == ["mtlcm"]
    bounds = {bound.name: [point.score for point in bound.points] for bound in first.bounds}
    assert bounds == {"chance": pytest.approx([0.1] * 3), "ceiling": pytest.approx([0.9] * 3)}
    assert first.ticks == ("5", "10", "20")


def test_the_page_shows_each_knob_with_its_picture() -> None:
    files = pages(made(*FALLING))
    page = files[difficulty.NAME]
    pictures = [name for name in files if name.endswith(".svg")]
    assert len(pictures) == 2
    assert all(f"]({name})" in page for name in pictures)
    row = next(line for line in page.splitlines() if line.startswith("| mtlcm"))
    assert [cell.strip() for cell in row.split("|")[2:-1]][-1] == "10"
    for name in pictures:
        words = " ".join(ElementTree.fromstring(files[name]).itertext())
        assert "mtlcm 0." in words, "the line is named at its end"
    assert files == pages(made(*FALLING)), "the same records, the same bytes"


def test_boards_that_differ_in_two_parameters_make_no_page() -> None:
    assert pages(made(board_of({}, mtlcm=0.9), board_of({"d": 10, "n_tasks": 20}, mtlcm=0.9))) == {}


def curve(name: str, *scores: float) -> Curve:
    return Curve(name, False, tuple(Point(float(x), s, s, s) for x, s in enumerate(scores)))


def test_lines_that_coincide_share_a_label() -> None:
    groups = grouped([curve("a", 0.9, 0.5), curve("b", 0.902, 0.497), curve("c", 0.9, 0.6), curve("d", 0.9)])
    assert [[own.name for own in group.curves] for group in groups] == [["a", "b"], ["c"], ["d"]]
    assert groups[0].words() == "a, b 0.50"


def test_labels_do_not_overlap_and_stay_as_close_as_they_can() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        wanted = np.sort(rng.random(8))
        heights = rng.choice([0.05, 0.1], 8)
        placed = np.array(spread(list(wanted), list(heights)))
        gaps = (heights[1:] + heights[:-1]) / 2
        assert (np.diff(placed) >= gaps - 1e-12).all()
        # no allowed move makes the squared distances smaller: compare with random feasible places
        for _ in range(20):
            other = np.maximum.accumulate(placed + 0.05 * rng.standard_normal(8) - np.r_[0, np.cumsum(gaps)])
            other = other + np.r_[0, np.cumsum(gaps)]
            assert ((placed - wanted) ** 2).sum() <= ((other - wanted) ** 2).sum() + 1e-12


def test_labels_with_room_stay_where_they_belong() -> None:
    assert spread([0.1, 0.5, 0.9], [0.05] * 3) == pytest.approx([0.1, 0.5, 0.9])


def test_scores_on_independent_factors_stand_in_where_the_plain_one_flatters() -> None:
    hard = board_of({"d": 10}, mtlcm=0.99)
    metrics = hard[0]["metrics"]
    metrics["mcc_independent"] = {**metrics["mcc"], "value": 0.4}
    metrics["mcc"] = {**metrics["mcc"], "extra": {"flagged": True}}
    found = knob("d", board_of({}, mtlcm=0.88), hard)
    first = panels(found)[0]
    assert [point.score for point in first.curves[0].points] == [0.88, 0.4]
    assert first.y_title == "MCC / MCC, independent z"
    assert works_up_to(found, "mtlcm") == "5"


def test_training_that_was_cut_short_says_nothing_of_where_a_learner_stops() -> None:
    short = board_of({"d": 10}, mtlcm=0.2)
    short[0]["converged"] = False
    assert works_up_to(knob("d", board_of({}, mtlcm=0.9), short), "mtlcm") == "5†"
    assert works_up_to(knob("d", board_of({}, mtlcm=0.9), board_of({"d": 10}, mtlcm=0.2)), "mtlcm") == "5"


def test_a_row_that_applies_nowhere_is_left_out() -> None:
    skipped = record("raw", 0, status="skipped")
    skipped["spec"]["dataset_params"] = {"d": 5, "n_tasks": 200, "kind": "a"}
    assert "raw" not in pages(made(*FALLING, [skipped]), draw=False)[difficulty.NAME]


def test_a_learner_that_was_not_run_everywhere_is_said_to_be() -> None:
    groups = (board_of({}, mtlcm=0.9, raw=0.9), board_of({"d": 10}, mtlcm=0.9), board_of({"d": 20}, mtlcm=0.9, raw=0.9))
    found = knob("d", *groups)
    assert works_up_to(found, "raw") == "not all run"
    short = (board_of({}, mtlcm=0.9, mtrn=0.7), board_of({"d": 20}, mtlcm=0.9))
    svg = pages(made(*short))["figures/difficulty-linear-causal-d-smoke.svg"]
    assert "mtrn 0.70 at 5" in " ".join(ElementTree.fromstring(svg).itertext())
