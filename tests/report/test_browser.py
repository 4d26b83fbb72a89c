"""The report in a real browser, as a reader sees it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from virtualpool import report

MakeRun = Callable[..., Path]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
            ],
        )
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any, make_run: MakeRun) -> Iterator[Callable[..., Any]]:
    """Opens the report of a run in a window; any request but that for the page fails the test."""
    requests: list[str] = []

    def open_page(width: int, **run: Any) -> Any:
        directory = make_run(**run)
        path = directory / "report.html"
        report.write(directory, path)
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri(), wait_until="networkidle")
        return page

    yield open_page
    assert len(requests) == 1, f"the page asked for {requests[1:]}"


@pytest.mark.parametrize("width", [1280, 390])
def test_figures_and_tables_are_there(opened: Callable[..., Any], width: int) -> None:
    page = opened(width)
    assert page.locator("figure svg:visible").count() == 4  # frontier, sensitivity, two curves
    assert page.locator("#models tbody tr").count() == 4
    assert page.locator("#rounds tbody tr").count() == 3
    assert page.locator("#frontier svg:visible circle.dot").count() == 4
    assert page.locator("#frontier svg:visible circle.written").count() == 2
    assert page.locator("#frontier svg:visible line.half-resolution").count() == 1
    assert page.locator("#models strong").all_inner_texts() == ["1.44×", "2.31×", "2.87×"]
    assert page.locator("#fusing li").count() == 2
    assert page.locator("#sensitivity svg:visible rect").count() == 9
    assert page.locator("#training svg:visible polyline").count() == 6
    assert "faster for" in page.locator("h1").inner_text()


def test_smaller_images_are_a_line_and_rows(opened: Callable[..., Any]) -> None:
    page = opened(1280, smaller=3)
    assert page.locator("#frontier svg:visible .on-smaller circle.dot").count() == 3
    assert page.locator("#frontier svg:visible polyline.smaller").count() == 1
    assert page.locator("#comparison tbody tr").count() == 3


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("rounds", "smaller"), [(3, 3), (0, None)])
def test_nothing_is_wider_than_the_window(
    opened: Callable[..., Any], width: int, rounds: int, smaller: int | None
) -> None:
    page = opened(width, rounds=rounds, smaller=smaller)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(element => !element.closest(".scroll, pre"))
            .filter(element => element.getBoundingClientRect().right > window.innerWidth + 1)
            .map(element => element.outerHTML.slice(0, 80))"""
    )
    assert outside == []


def test_letters_of_the_figures_are_readable_on_a_phone(opened: Callable[..., Any]) -> None:
    page = opened(390)
    heights = page.eval_on_selector_all(
        "svg text", "all => all.map(t => t.getBoundingClientRect().height).filter(h => h > 0)"
    )
    assert heights
    assert min(heights) > 10


def test_the_page_is_dark_where_the_reader_wants_it(opened: Callable[..., Any]) -> None:
    page = opened(1280)
    colours = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colours["light"] == "rgb(255, 255, 255)"
    assert colours["dark"] != colours["light"]
