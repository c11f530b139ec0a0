"""A hook of the documentation site: links that leave ``docs/`` work on the repository's page, not on the site."""

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Such a link becomes its words and the path of the file."""
    return re.sub(r"\[([^\]]+)\]\(\.\./([^)\s]+)\)", r"\1 (`\2` in the repository)", markdown)
