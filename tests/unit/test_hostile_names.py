"""Names, titles and reasons of plugins can do nothing to a page: no tag, image, link, heading or open fence."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from bench.api import DatasetInfo, LearnerInfo
from bench.registry import Registry
from bench.report.html import page, section
from bench.report.html.views import row_ids
from bench.report.leaderboard import markdown_pages
from bench.report.markdown import block, code, text
from bench.report.pictures import pictures
from bench.report.rows import boards
from tests.unit.test_report import record

HOSTILE = (
    "<script>alert(1)</script>",
    "![x](https://evil.example/x.png)",
    "<img src=x onerror=alert(1)>",
    "name\n# A forged heading\n",
    "```\n# out of the fence",
    "a | b ` c **d** [e](javascript:alert(1))",
    '"><svg onload=alert(1)>',
    "$\\alpha$ _x_ &lt;b&gt;",
)


def campaign(name: str) -> tuple[list[dict[str, Any]], Registry]:
    learners = {name: LearnerInfo(name=name, guarantee="permutation+scaling"), "other": LearnerInfo(name="other")}
    found = Registry(learners=learners, datasets={name: DatasetInfo(name=name, summary=name)})
    records = []
    for learner, status in ((name, "ok"), (name, "failed"), ("other", "ok"), ("other", "skipped")):
        for seed in range(2):
            made = record(learner, seed + 2 * (status != "ok"), mcc=0.5 + 0.1 * seed, status=status)
            made["spec"] |= {"dataset": name, "learner_params": {name: name}, "dataset_params": {name: name}}
            made |= {"reason": name, "data": {"title": name, "rows": 7, "sha256": name}, "converged": False}
            made["converged_reason"] = name
            made["provenance"] = {**made["provenance"], "git_revision": name, "packages": {name: name}, "python": name}
            records.append(made)
    gone = record(name + " gone", 0)
    return [*records, gone], found


class Tags(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def harmful(self) -> list[tuple[str, dict[str, str | None]]]:
        def wrong(tag: str, attributes: dict[str, str | None]) -> bool:
            source = " ".join(str(attributes.get(name, "")) for name in ("src", "href", "xlink:href"))
            remote = "evil.example" in source or "javascript:" in source
            return tag in ("script", "img", "iframe") or remote or any(name.startswith("on") for name in attributes)

        return [item for item in self.found if wrong(*item)]


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_pages(name: str) -> None:
    records, found = campaign(name)
    made = boards(records, found, {})
    pages = markdown_pages(made, records, found, pictures(made))
    for file, content in pages.items():
        assert "/" not in file.removeprefix("figures/")
        assert file.replace(".", "").replace("-", "").replace("/", "").isalnum()
        if not file.endswith(".md"):
            continue
        tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(content)
        headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
        assert not any(heading.startswith(("A forged", "out of")) for heading in headings)
        html = MarkdownIt("commonmark", {"html": True}).enable("table").render(content)
        images = [item for item in Tags(html).harmful() if not str(item[1].get("src", "")).startswith("figures/")]
        assert images == []
        assert "<svg" not in html


@pytest.mark.parametrize("name", HOSTILE)
def test_html_page(name: str) -> None:
    records, found = campaign(name)
    made = boards(records, found, {})
    drawn = pictures(made)
    html = page(made, records, found, drawn)
    own = [tag for tag, _ in Tags(html).harmful()]
    assert own == ["script", "script"]  # the page's own data and program
    parts = [section(board, found, drawn, row_ids(made)) for board in made]
    assert all(Tags(part).harmful() == [] for part in parts)
    assert "evil.example/x.png)" not in name or "evil.example" in html  # shown, not done


@pytest.mark.parametrize("name", HOSTILE)
def test_pictures(name: str) -> None:
    records, found = campaign(name)
    made = boards(records, found, {})
    for svg in markdown_pages(made, records, found, pictures(made)).values():
        if svg.startswith("<?xml"):
            assert Tags(svg).harmful() == []


@pytest.mark.parametrize("name", HOSTILE)
def test_words_stay_words(name: str) -> None:
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    plain = " ".join(name.split())
    (paragraph,) = [token for token in reader.parse(f"x {text(name)} y") if token.type == "inline"]
    assert "".join(child.content for child in paragraph.children or []) == f"x {plain} y"
    (paragraph,) = [token for token in reader.parse(f"x {code(name)} y") if token.type == "inline"]
    assert [child.content for child in paragraph.children or [] if child.type == "code_inline"] == [plain]
    (fence,) = reader.parse(block([name]))
    assert fence.type == "fence"
