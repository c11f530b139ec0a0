"""What a run shows: a line a cell in a log, a live board on a terminal."""

import io
from types import SimpleNamespace

from rich.console import Console

from bench.commands.display import Display
from bench.run.spec import RunSpec

SPEC = RunSpec("pca", "linear-causal", 0, 1, 2, "smoke")


def record(status: str = "ok", reason: str = "") -> dict:
    return {"status": status, "reason": reason, "phases": {"fit": {"wall_s": 1.25, "cpu_s": 1.0}}}


def test_a_log_has_one_line_a_cell() -> None:
    out = io.StringIO()
    with Display(2, 1, Console(file=out, width=80)) as display:
        display.done(SPEC, record())
        display.done(SPEC, record("failed", "ValueError: a [very] long reason " + 20 * "x "))
    lines = out.getvalue().splitlines()
    assert lines[0] == "[1/2] linear-causal · pca · seed 0  ok 1.2 s"
    assert lines[1].startswith("[2/2] linear-causal · pca · seed 0  failed: ValueError: a [very] long reason x x")


def test_the_live_board_counts_and_estimates() -> None:
    out = io.StringIO()
    display = Display(4, 2, Console(file=out, width=120, force_terminal=True))
    display.done(SPEC, record())
    display.done(SPEC, record("diverged", "nan"))
    display.started -= 100
    running = [SimpleNamespace(specs=[SPEC], fraction=0.5, message="epoch 3", started=display.started)]
    plain = Console(file=io.StringIO(), width=120)
    plain.print(display._board(running))  # type: ignore[arg-type]
    text = plain.file.getvalue()  # type: ignore[attr-defined]
    assert "2/4 cells" in text
    assert "1 failed" in text
    assert "1:40 gone" in text
    assert "about 1:17 left" in text  # 100 s for 2.25 cells, 1.75 to go
    assert "50 %" in text
    assert "epoch 3" in text
