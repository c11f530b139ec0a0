"""The published report in a real browser: nothing overflows, nothing errs, sorting, filtering and details work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.report import write_leaderboard
from bench.report.html import LARGEST
from tests.browser import WIDTHS, browser, errors, missing, open_page, resize, scheme
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "a browser is here")
GITHUB = 900
"""Pixels of GitHub's column, and about its style of tables."""
STYLE = """
body { font: 16px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; width: 900px; margin: 0; }
table { display: block; width: max-content; max-width: 100%; overflow: auto; border-collapse: collapse; }
th, td { padding: 6px 13px; border: 1px solid; } th { font-weight: 600; }"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the published records."""
    folder = tmp_path_factory.mktemp("report")
    write_leaderboard(ROOT / "leaderboard" / "records.jsonl", folder)
    return folder


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser() as found:
        yield found


def rows(driver: Any, table: str = "#overview table") -> list[str]:
    script = """return [...document.querySelectorAll(arguments[0] + ' tbody tr')]
        .filter(row => !row.hidden).map(row => row.dataset.name)"""
    found: list[str] = driver.execute_script(script, table)
    return found


def column(driver: Any, index: int) -> list[str]:
    script = "return [...document.querySelectorAll('#overview tbody tr')].map(r => r.cells[arguments[0]].dataset.v)"
    found: list[str] = driver.execute_script(script, index)
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["light", "dark"])
def test_no_overflow_and_no_error(driver: Any, report: Path, width: int, name: str) -> None:
    resize(driver, width)
    scheme(driver, name)
    open_page(driver, report / "index.html")
    driver.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert driver.execute_script("return document.documentElement.scrollWidth") == width
    assert errors(driver) == []
    background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if name == "light" else "rgb(13, 17, 23)")


def test_the_file_is_small_and_asks_for_nothing(driver: Any, report: Path) -> None:
    assert (report / "index.html").stat().st_size < LARGEST
    open_page(driver, report / "index.html")
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith(("data:", "blob:"))] == []


def test_the_answer_is_on_the_first_screen(driver: Any, report: Path) -> None:
    resize(driver, 1280, 900)
    open_page(driver, report / "index.html")
    bottom = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"
    assert driver.execute_script(bottom, "#answer table") < 900
    assert driver.execute_script(bottom, "#answer figure svg") < 900
    assert len(rows(driver, "#answer table")) >= 5  # five, or all that share the first place
    text = driver.find_element("css selector", "#answer").text
    for words in ("MCC", "interval", "CPU s a fit", "datasets", "not converged"):
        assert words in text


def test_sorting_by_keyboard_and_back(driver: Any, report: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(driver, report / "index.html")
    button = driver.find_elements("css selector", "#overview thead button")[3]
    head = button.find_element("xpath", "..")
    button.send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "descending"
    falling = column(driver, 3)
    numbers = [float(value) for value in falling if value]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) > 3
    assert all(not value for value in falling[len(numbers) :])  # rows without a score stay last
    button.send_keys(Keys.SPACE)
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(value) for value in column(driver, 3) if value] == sorted(numbers)


def test_filtering(driver: Any, report: Path) -> None:
    open_page(driver, report / "index.html")
    every = rows(driver)
    driver.find_element("id", "filter-name").send_keys("vae")
    shown = rows(driver)
    assert shown == [name for name in every if "vae" in name]
    assert 1 < len(shown) < len(every)
    assert driver.find_element("id", "filter-count").text == f"{len(shown)} of {len(every)} rows"
    board = driver.find_element("css selector", "details.board").get_attribute("id")
    assert all("vae" in name for name in rows(driver, f"#{board} table"))
    driver.find_element("id", "filter-name").clear()
    driver.find_element("css selector", "#filter-guarantee option:nth-child(4)").click()
    assert 0 < len(rows(driver)) < len(every)


def test_a_score_opens_its_cells(driver: Any, report: Path) -> None:
    open_page(driver, report / "index.html")
    button = driver.find_element("css selector", "#overview tr[data-name=pca] button.open")
    driver.execute_script("arguments[0].click()", button)
    dialog = driver.find_element("id", "details")
    text = dialog.text
    for words in ("pca on ", "seed", "peak MiB", "python -m bench run --learners pca", "git_revision", "model_seed"):
        assert words in text
    close = driver.find_element("id", "close")
    assert driver.switch_to.active_element == close
    close.click()
    assert not dialog.is_displayed()


def test_a_link_to_a_dataset_opens_its_section(driver: Any, report: Path) -> None:
    open_page(driver, report / "index.html")
    board = driver.find_elements("css selector", "details.board")[-1].get_attribute("id")
    driver.execute_script("location.hash = arguments[0]", board)
    driver.implicitly_wait(2)
    assert driver.find_element("css selector", f"#{board}[open] table").is_displayed()


def test_downloads_hold_every_cell(driver: Any, report: Path) -> None:
    open_page(driver, report / "index.html")
    # what the buttons save, instead of a file
    driver.execute_script("window.saved = []; URL.createObjectURL = blob => { window.saved.push(blob); return '#' }")
    for name in ("download-json", "download-csv"):
        driver.execute_script("document.getElementById(arguments[0]).click()", name)
    read = "const done = arguments[0]; setTimeout(() => Promise.all(window.saved.map(b => b.text())).then(done), 200)"
    saved, table = driver.execute_async_script(read)
    lines = (report / "records.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(json.loads(saved)["cells"]) == len(lines)
    assert len(table.splitlines()) == len(lines) + 1


def test_every_control_has_a_name(driver: Any, report: Path) -> None:
    """What a screen reader reads: tables have captions, pictures and controls names, headings no holes."""
    open_page(driver, report / "index.html")
    script = """
    const named = n => (n.getAttribute('aria-label') || n.textContent || n.closest('label')?.textContent || '').trim();
    return {
      unnamed: [...document.querySelectorAll('button, a, input, select, svg[role=img], [role=region]')]
        .filter(n => !named(n) && !n.closest('dialog:not([open])')).length,
      bare: [...document.querySelectorAll('table')].filter(t => !t.caption).length,
      levels: [...document.querySelectorAll('h1, h2, h3')]
        .filter(n => !n.closest('dialog')).map(n => Number(n.tagName[1])),
      twice: [...document.querySelectorAll('[id]')].map(n => n.id).filter((id, i, all) => all.indexOf(id) !== i).length,
    }"""
    found = driver.execute_script(script)
    assert found["unnamed"] == 0
    assert found["bare"] == 0
    assert found["twice"] == 0
    levels = found["levels"]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_no_table_of_the_markdown_pages_is_wider_than_github(driver: Any, report: Path, tmp_path: Path) -> None:
    from markdown_it import MarkdownIt

    resize(driver, 1280)
    pages = [*sorted(report.glob("*.md")), ROOT / "leaderboard" / "reproduction.md"]
    too_wide = []
    for path in pages:
        html = MarkdownIt("commonmark", {"html": True}).enable("table").render(path.read_text(encoding="utf-8"))
        shown = tmp_path / "shown.html"
        shown.write_text(f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style>{html}', encoding="utf-8")
        driver.get(shown.as_uri())
        driver.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
        widths = driver.execute_script("return [...document.querySelectorAll('table')].map(t => t.scrollWidth)")
        too_wide += [(path.name, number, width) for number, width in enumerate(widths) if width > GITHUB]
    assert too_wide == [], too_wide


def test_the_first_markdown_page_is_short(report: Path) -> None:
    assert len((report / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
