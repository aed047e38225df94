"""The page of `auricle serve`, in a real browser against a real server.

Every test also looks for requests to elsewhere, errors in the console and breaches of the content security policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs `pip install '.[serve]'`")
pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")

from tests.server.browser import (
    ASKED,
    INSECURE,
    QUESTION,
    SAID,
    SENTENCE,
    WHAT,
    Opened,
    Watch,
    answer,
    ask,
    choose,
    chromium,
    drawn,
    serving,
    spoken,
    subtitles,
    write_wav,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(
        spoken(tmp_path_factory.mktemp("microphone") / "microphone.wav", SENTENCE, pause_s=0, end_s=1)
    ) as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = Opened(context.new_page(), address)
    yield opened
    context.close()
    opened.watch.check()


@pytest.fixture
def page(opened: Opened) -> Page:
    return opened.page


@pytest.fixture
def side(opened: Opened) -> Watch:
    return opened.watch


def test_answers_about_a_file_and_keeps_the_conversation(page: Page) -> None:
    assert page.inner_text("#model") == "tiny"
    choose(page, SENTENCE)
    assert "1.62 s" in page.inner_text("#sound-facts")
    ask(page)
    assert SAID in answer(page)
    figures = page.inner_text(".figures")
    assert all(name in figures for name in ("First token", "tokens/s", "audio tokens", "In all")), figures
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "Is anyone speaking?")
    messages = sent.value.post_data_json["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "user"]
    assert [part["type"] for part in messages[0]["content"]] == ["text", "input_audio"]
    assert answer(page, 2)
    page.click("#new")
    assert page.locator(".turn").count() == 0


def test_draws_what_it_was_given(page: Page, tmp_path: Path) -> None:
    """A tone of 1 kHz is a bright line at 1 kHz, and nothing stands elsewhere."""
    tone = 12_000 * np.sin(2 * np.pi * 1000 * np.arange(2 * 16_000) / 16_000)
    choose(page, write_wav(tmp_path / "tone.wav", tone, 16_000))
    pixels = drawn(page).astype(int)
    middle, rows = pixels.shape[1] // 2, np.arange(len(pixels))
    column = pixels[:, middle, :3].sum(axis=1)  # brightness; the ink is dark on light paper
    bands = (rows > 0.35 * len(rows)) & (rows < len(rows) - 30)  # between the waveform and the labels of the time axis
    ink = bands & (column < 0.5 * (column[bands].max() + column[bands].min()))
    assert 0 < ink.sum() < 0.1 * bands.sum()
    page.hover("#view", position={"x": middle, "y": int(rows[ink].mean())})
    readout = page.inner_text("#readout")
    assert readout.endswith("kHz")
    assert float(readout.split()[-2]) == pytest.approx(1.0, abs=0.05)


def test_plays_and_moves_the_cursor(page: Page) -> None:
    choose(page, SENTENCE)
    before = page.eval_on_selector("#cursor", "one => one.getBoundingClientRect().left")
    page.click("#play")
    page.wait_for_function("() => Number(document.querySelector('#now').textContent) > 0.3")
    assert page.eval_on_selector("#cursor", "one => one.getBoundingClientRect().left") > before + 50
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.wait_for_selector("#play[aria-label=Play]")  # it ends by itself
    page.focus("#seek")
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelector('#now').textContent === '0.00'")


def test_transcribes_with_times(page: Page, address: str, tmp_path: Path) -> None:
    """The saved subtitles are the pieces as the server writes them, to the byte."""
    sound = spoken(tmp_path / "long talk.wav", SENTENCE, QUESTION, pause_s=27, end_s=1)
    choose(page, sound)
    page.click("#tab-transcribe")
    page.click("#transcribe")
    page.wait_for_selector("#saves")
    pieces = page.locator(".piece")
    assert [one.split("\n")[-1] for one in pieces.all_inner_texts()] == [SAID, ASKED]
    for kind in ("srt", "vtt"):
        with page.expect_download() as saved:
            page.click(f"[data-save={kind}]")
        assert saved.value.suggested_filename == f"long talk.{kind}"
        assert saved.value.path().read_text() == subtitles(address, sound, kind)
    pieces.nth(1).locator("button").click()
    start = float(pieces.nth(1).locator("button").inner_text())
    page.wait_for_function("start => Number(document.querySelector('#now').textContent) >= start", arg=start - 0.1)
    page.wait_for_selector(".piece:nth-child(2)[aria-current]")


def test_what_the_browser_cannot_decode_still_goes_to_the_server(page: Page, side: Watch, tmp_path: Path) -> None:
    """Text is no sound for either; the server's line is shown, and the question is not lost."""
    side.expected = ("status of 4",)
    (tmp_path / "notes.txt").write_text("not a sound")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_selector("#sound-note:visible")
    assert "can't decode notes.txt" in page.inner_text("#sound-note")
    ask(page)
    page.wait_for_selector("#talk-alert:visible")
    line = page.inner_text("#talk-alert")
    assert len(line) > 20
    assert "\n" not in line
    assert page.get_attribute("#talk-alert", "role") == "alert"
    assert page.input_value("#question") == WHAT
    assert page.locator(".turn").count() == 0


def test_asks_for_a_sound_first(page: Page) -> None:
    ask(page)
    page.wait_for_selector("#talk-alert:visible")
    assert "no sound yet" in page.inner_text("#talk-alert")


def test_says_what_the_server_says(page: Page, side: Watch) -> None:
    """An error before the answer, one within it, and no answer at all: each is one line, and nothing stays behind."""
    side.expected = ("status of 429", "ERR_INTERNET_DISCONNECTED")
    choose(page, SENTENCE)
    chat = "**/v1/chat/completions"
    error = json.dumps({"error": {"message": "The queue is full.", "type": "x", "param": None, "code": None}})
    page.route(chat, lambda one: one.fulfill(status=429, headers={"Retry-After": "7"}, body=error), times=1)
    ask(page)
    page.wait_for_selector("#talk-alert:text('The queue is full. Try again in 7 s.')")
    events = {"Content-Type": "text/event-stream"}
    body = 'data: {"choices": [{"delta": {"content": "the"}}]}\n\ndata: {"error": {"message": "It broke."}}\n\n'
    page.route(chat, lambda one: one.fulfill(status=200, headers=events, body=body), times=1)
    ask(page)
    page.wait_for_selector("#talk-alert:text('It broke.')")
    assert page.locator(".turn").count() == 0
    page.context.set_offline(True)
    ask(page)
    page.wait_for_selector("#talk-alert:text('can\\'t be reached')")
    page.wait_for_selector("[data-state=gone]")
    page.context.set_offline(False)
    page.wait_for_selector("[data-state=ready]")
    ask(page)
    assert SAID in answer(page)


def test_waits_until_the_model_is_loaded(page: Page, side: Watch) -> None:
    side.expected = ("status of 503",)
    loading = json.dumps({"status": "loading"})
    page.route("**/health", lambda one: one.fulfill(status=503, body=loading), times=1)
    page.reload()
    page.wait_for_selector("[data-state=loading]")
    page.wait_for_selector("[data-state=ready]")


def test_stops_while_the_answer_streams(page: Page, tmp_path: Path) -> None:
    """A sentence heard six times makes `tiny` repeat itself without end; what was read until Stop stays."""
    choose(page, spoken(tmp_path / "again.wav", *[SENTENCE] * 6, pause_s=0.5))
    page.fill("#max-tokens", "1500")
    ask(page)
    page.wait_for_function("() => document.querySelector('.turn .text')?.textContent.length > 0")
    page.click("#stop-ask")
    page.wait_for_selector(".stopped")
    assert page.inner_text(".stopped") == "Stopped."
    heard = page.inner_text(".turn .text")
    assert heard.startswith("the old man")
    assert len(heard.split()) < 1400
    page.fill("#max-tokens", "5")
    ask(page)
    assert answer(page, 2)
    assert "cut after 5 tokens" in page.inner_text(".turn:nth-child(2) .note")


def test_records(page: Page) -> None:
    page.context.grant_permissions(["microphone"])
    page.click("#record")
    page.wait_for_function("() => parseFloat(document.querySelector('#sound-facts').textContent) > 2.4")
    assert page.inner_text("#record") == "Stop"
    page.click("#record")
    page.wait_for_selector("#play:enabled")
    assert page.inner_text("#sound-title") == "recording.wav"
    ask(page)
    heard = answer(page)
    assert len(set(SAID.split()) & set(heard.split())) >= 3, heard


def test_microphone_refused(page: Page) -> None:
    page.click("#record")
    page.wait_for_selector("#sound-alert:visible")
    assert "refused" in page.inner_text("#sound-alert")
    choose(page, SENTENCE)
    assert not page.is_visible("#sound-alert")


def test_no_microphone(page: Page) -> None:
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') } }"
    )
    page.click("#record")
    page.wait_for_selector("#sound-alert:visible")
    assert "No microphone was found" in page.inner_text("#sound-alert")


def test_insecure_page_says_where_the_microphone_works(browser: Browser, address: str) -> None:
    context = browser.new_context()
    address = address.replace("127.0.0.1", INSECURE)
    opened = Opened(context.new_page(), address)
    opened.page.click("#record")
    opened.page.wait_for_selector("#sound-alert:visible")
    assert "https and localhost" in opened.page.inner_text("#sound-alert")
    context.close()
    opened.watch.check()


def test_works_by_keyboard_alone(page: Page) -> None:
    """Tab from the top reaches everything in order; a focused element shows it."""
    reached = []
    with page.expect_file_chooser() as chooser:
        for _ in range(4):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", reached
            if reached[-1] == "choose":
                page.keyboard.press("Enter")
    assert reached[:3] == ["skip", "record", "choose"]
    chooser.value.set_files(SENTENCE)
    page.wait_for_selector("#play:enabled")
    page.focus("#seek")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => Number(document.querySelector('#seek').ariaValueNow) > 0.05")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tab-ask"
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-transcribe", "aria-selected") == "true"
    assert page.is_visible("#panel-transcribe")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#saves")
    assert SAID in page.inner_text("#pieces")


def test_shift_enter_begins_a_new_line(page: Page) -> None:
    page.fill("#question", "One")
    page.press("#question", "Shift+Enter")
    page.keyboard.type("two")
    assert page.input_value("#question") == "One\ntwo"


@pytest.mark.parametrize("width", [320, 375])
def test_fits_a_phone(browser: Browser, address: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 812}, has_touch=True, device_scale_factor=2)
    opened = Opened(context.new_page(), address)
    page = opened.page
    choose(page, SENTENCE)
    ask(page)
    assert SAID in answer(page)
    for tab in ("#tab-transcribe", "#tab-ask"):
        page.click(tab)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        small = page.evaluate(
            "[...document.querySelectorAll('button')].filter((one) => one.checkVisibility())"
            ".filter((one) => one.getBoundingClientRect().height < 36).map((one) => one.id || one.textContent)"
        )
        assert small == []
    assert page.evaluate("picture.width") == 2 * page.evaluate("picture.clientWidth")  # sharp
    context.close()
    opened.watch.check()


def test_asks_for_a_key_where_the_server_wants_one(browser: Browser) -> None:
    with serving("--api-key", "a-secret") as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.fill("#key", "wrong")
        page.press("#key", "Enter")
        page.wait_for_selector("#state-text:text('key refused')")
        page.fill("#key", "a-secret")
        page.press("#key", "Enter")
        page.wait_for_selector("[data-state=ready]")
        choose(page, SENTENCE)
        ask(page)
        assert SAID in answer(page)
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        context.close()
