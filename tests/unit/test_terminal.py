"""Tables at the terminal's width, markdown in a pipe, and characters a stream cannot show."""

import io
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.commands import terminal

WIDE = "| learner | " + " | ".join(f"dataset-{i}" for i in range(9)) + " |\n|:--|" + 9 * "--:|" + "\n"
WIDE += "| **mtlcm** |" + 9 * " 0.987 ± 0.004 |" + "\n| *raw* |" + 9 * " 0.5 |" + "\n"


def test_a_wide_table_is_cut_into_blocks_that_repeat_the_first_column() -> None:
    lines = terminal.laid_out(WIDE, 60).splitlines()
    assert max(map(len, lines)) <= 60
    heads = [line for line in lines if line.startswith("learner")]
    assert len(heads) > 1
    assert [name for head in heads for name in head.split()[1:]] == [f"dataset-{i}" for i in range(9)]
    assert sum(line.startswith("mtlcm *") for line in lines) == len(heads)
    assert sum(line.startswith("(raw)") for line in lines) == len(heads)


def test_long_cells_are_wrapped_and_no_word_is_lost() -> None:
    text = "why this is so, said at some length and with a number of words " * 3
    lines = terminal.laid_out(f"| name | meaning |\n|---|---|\n| a | {text} |\n", 50)
    assert max(map(len, lines.splitlines())) <= 50
    assert lines.split()[-len(text.split()) :] == text.split()


@example([["a" * 19, "a" * 20, ""]], 40)  # two columns that are each narrow enough, and together one too wide
@given(st.lists(st.lists(st.text("ab c", max_size=40), min_size=3, max_size=3), max_size=4), st.integers(40, 120))
def test_no_line_is_wider_than_the_terminal(rows: list[list[str]], columns: int) -> None:
    lines = terminal.lay_out_table(["one", "two", "three"], rows, columns)
    assert all(len(line) <= columns for line in lines)


def test_a_pipe_gets_the_markdown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.emit(WIDE)
    assert capsys.readouterr().out == WIDE


def test_an_ascii_stream_gets_plain_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    terminal.prepare_streams()
    print("0.9 ± 0.1 · β-VAE 漢", flush=True)
    assert raw.getvalue() == b"0.9 +- 0.1 . beta-VAE ?\n"


def test_one_cell_is_not_several() -> None:
    assert [terminal.counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]
