"""A report in a browser, with what a test asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Tab:
    """An open page, what it asked for and what it complained of."""

    def __init__(self, browser: Any, path: Path, **look: Any) -> None:
        self.page = browser.new_page(**look)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#rd-psnr .scatterlayer .trace")

    def see(self, place: str) -> None:
        self.page.locator(place).first.scroll_into_view_if_needed()
        self.page.wait_for_timeout(150)

    def until(self, holds: Callable[[], bool]) -> None:
        """Plots are drawn when the browser next looks which ones are in view."""
        end = time.monotonic() + 20
        while not holds() and time.monotonic() < end:
            self.page.wait_for_timeout(20)
        assert holds()

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def xs(self, name: str) -> list[float]:
        """Rates of the points of the curve that the plot over PSNR draws now."""
        script = "name => document.getElementById('rd-psnr').data.find(trace => trace.name === name)?.x ?? []"
        return self.page.evaluate(script, name)
