"""A headless Chromium: the tests look at pages with it, and ``python -m tests.browser PAGE`` makes screenshots.

No browser is downloaded: a Chromium or Chrome of the system is used together with its chromedriver (Debian: apt-get
install chromium chromium-driver).
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTHS = (390, 768, 1280)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing() -> str:
    """Why no browser can be had; "" where one can."""
    if not any(map(shutil.which, BROWSERS)):
        return f"needs a browser, none of {', '.join(BROWSERS)} is installed"
    return "" if shutil.which("chromedriver") else "needs chromedriver (Debian: apt-get install chromium-driver)"


@contextmanager
def browser() -> Iterator[Any]:
    """A selenium driver; console messages are kept for ``errors``."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = next(path for name in BROWSERS if (path := shutil.which(name)))
    # in a container root has no sandbox, and /dev/shm is small
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int, height: int = 900) -> None:
    """A window of exactly this width, as narrow as a phone's where asked."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def scheme(driver: Any, name: str) -> None:
    """ "light" or "dark", as the reader's system would ask for it."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def open_page(driver: Any, path: Path) -> None:
    """Open a report and wait until its packed sections are filled in."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get(path.resolve().as_uri())
    ready = "return document.documentElement.dataset.ready === 'true' || !document.getElementById('payload')"
    WebDriverWait(driver, 60).until(lambda found: found.execute_script(ready))


def errors(driver: Any) -> list[str]:
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Screenshots of a page at three widths, light and dark.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--to", type=Path, default=Path("results/screenshots"), metavar="DIR")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with browser() as driver:
        for width in WIDTHS:
            for name in ("light", "dark"):
                resize(driver, width)
                scheme(driver, name)
                open_page(driver, options.page)
                file = options.to / f"{options.page.stem}-{width}-{name}.png"
                driver.save_screenshot(str(file))
                print(file)


if __name__ == "__main__":
    main()
