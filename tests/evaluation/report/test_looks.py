"""The page in a real browser: nothing from elsewhere, no complaint; tables sort, worst cases filter, sounds play."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auricle.evaluation.analysis import read_run
from auricle.evaluation.report import Settings, make_report, write_report
from tests.evaluation.report.runs import DULL, KEEN, label_rows, write_run
from tests.server.browser import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LABELS = {"speech": KEEN["speech"], "<img src=x onerror=alert(1)>": KEEN["nonspeech"]}
DURATIONS, SNRS = (20.0, 60.0, 100.0, 500.0), (-5.0, 0.0, None)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    observers = {"keen": LABELS, "dull": dict(zip(LABELS, DULL.values(), strict=True))}
    runs = [
        write_run(
            folder / name,
            label_rows(one, sources=8, durations=DURATIONS, snrs=SNRS),
            labels=list(LABELS),
            model=f"{name}-{'x' * 70}",  # which must break somewhere
        )
        for name, one in observers.items()
    ]
    made = make_report([read_run(run) for run in runs], Settings(resamples=100, worst=5))
    write_report(made, folder / "page.html", folder / "page_files")
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, page_file: Path) -> Iterator[Page]:
    """The page, all of it unfolded; afterwards it has to have asked for nothing and complained of nothing."""
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda one: asked.append(one.url) if not one.url.startswith(("file:", "data:")) else None)
    opened.on("console", lambda one: complaints.append(one.text))
    opened.on("pageerror", lambda one: complaints.append(str(one)))
    opened.on("dialog", lambda one: complaints.append(one.message))
    opened.goto(page_file.as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    yield opened
    assert asked == []
    assert complaints == []
    context.close()


def column(page: Page, table: str, place: int) -> list[str]:
    cells = page.locator(f"{table} tbody tr:visible td:nth-child({place})")
    return [text.split("\n")[0].strip() for text in cells.all_inner_texts()]


def test_tables_sort(page: Page) -> None:
    head = page.locator("#table-cells th", has_text="right")
    head.locator("button").click()
    shares = [float(text.split()[0]) for text in column(page, "#table-cells", 6)]
    assert shares == sorted(shares)
    assert len(shares) == 48
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert [float(text.split()[0]) for text in column(page, "#table-cells", 6)] == sorted(shares, reverse=True)
    page.locator("#table-cells th", has_text="SNR").locator("button").click()
    assert column(page, "#table-cells", 4) == ["-5"] * 16 + ["0"] * 16 + ["clean"] * 16


def test_worst_cases_filter(page: Page) -> None:
    rows = page.locator("#mistakes tbody tr")
    assert rows.count() == 10
    page.select_option("#filter-run", index=1)
    assert page.locator("#filter-count").inner_text() == "5 of 10"
    page.fill("#filter-text", "no such words")
    assert page.locator("#mistakes tbody tr:visible").count() == 0
    page.select_option("#filter-run", index=0)
    page.fill("#filter-text", "SPEECH")
    assert page.locator("#mistakes tbody tr:visible").count() == 10


def test_sounds_play(page: Page) -> None:
    """And a second one stops the first."""
    seconds = page.evaluate(
        """async () => {
          const [one, two] = document.querySelectorAll("audio");
          await one.play();
          await two.play();
          return [one.duration, two.duration, one.paused];
        }"""
    )
    assert all(0.01 < one < 1.5 for one in seconds[:2])
    assert seconds[2] is True


def test_nothing_sticks_out_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    sizes = page.evaluate("[...document.querySelectorAll('svg text')].map((one) => one.getBoundingClientRect().height)")
    assert min(sizes) > 8  # pixels: words in pictures stay readable


def test_pictures_take_the_colours_of_the_page(page: Page) -> None:
    """Words in pictures have the colour of words around them, which in dark is light."""
    ink, words = page.evaluate(
        """() => [getComputedStyle(document.body).color,
                  getComputedStyle(document.querySelector("#picture-by-duration-ms svg text")).fill]"""
    )
    assert ink == words


def test_printed_it_is_on_white(page: Page) -> None:
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("audio").first.is_hidden()
