"""Retakes the pictures of the page in docs/: `python -m tests.server.screenshots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.server.browser import ROOT, SENTENCE, WHAT, answer, ask, choose, chromium, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHOTS = {
    "serve-page.png": (
        {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
        [WHAT, "Is anyone speaking?"],
    ),
    "serve-page-phone.png": (
        {"viewport": {"width": 375, "height": 812}, "device_scale_factor": 2, "color_scheme": "dark"},
        [WHAT],
    ),
}


def shoot(browser: Browser, address: str, name: str) -> None:
    """Asks about the example's sentence, moves the cursor into it, and keeps what is seen."""
    look, questions = SHOTS[name]
    context = browser.new_context(**look, reduced_motion="reduce")
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("[data-state=ready]")
    choose(page, SENTENCE)
    for number, question in enumerate(questions, start=1):
        ask(page, question)
        answer(page, number)
    page.click(".turn:first-child summary")
    page.evaluate("() => { document.querySelector('#audio').currentTime = 0.62; document.activeElement.blur() }")
    page.wait_for_function("() => document.querySelector('#now').textContent === '0.62'")
    page.screenshot(path=ROOT / "docs" / name, full_page="phone" in name)
    context.close()


def main() -> None:
    with serving() as address, chromium() as browser:
        for name in SHOTS:
            shoot(browser, address, name)


if __name__ == "__main__":
    main()
