"""The controls under a learner's hands: a real JupyterLab, a real browser, clicks and keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.WHY_NOT)

CELLS = [
    "import numpy as np\nimport sftlab as sft\nfrom sftlab import plot, style, widgets\nstyle.use()",
    "x = np.random.default_rng(0).integers(0, 256, (60, 32, 32), dtype=np.uint8)\n"
    "data = sft.from_arrays(x, np.arange(60) % 2, classes=['intact', 'defect'])",
    "guess = widgets.predict('stages that changed', 0, 9, default=0)",
    "plot.guess_vs_result(7, guess, low=0, high=9, unit='stages')",
    "game = widgets.label_cells(data.test, range(4), seconds=30)\ngame",
    "print(game.answers, len(game.truth))",
]
GUESS, FIGURE, GAME, ANSWERS = 2, 3, 4, 5


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Notebook]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    root, home = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter")
    browser.write_notebook(Path(root) / "controls.ipynb", CELLS)
    with browser.jupyterlab(root, home) as server, playwright.sync_playwright() as program:
        chromium = program.chromium.launch(executable_path=browser.CHROMIUM, headless=True, args=browser.FLAGS)
        notebook = browser.Notebook(chromium.new_page(viewport={"width": 1280, "height": 1200}), server)
        notebook.open("controls.ipynb")
        notebook.run_all()
        yield notebook
        notebook.close()
        chromium.close()


def test_run_all_leaves_one_output_a_control_and_no_error(book: browser.Notebook) -> None:
    assert book.errors() == []
    for cell in (GUESS, GAME):  # the game's cell ends in `game`, which must not show it twice
        (output,) = book.outputs(cell)
        assert next(iter(output["data"])).startswith("application/vnd.jupyter.widget-view"), output["data"].keys()
        assert "text/html" in output["data"] and "text/plain" in output["data"]
    (figure,) = book.outputs(FIGURE)
    assert 'alt="Measured 7 stages; you guessed 0' in figure["data"]["text/html"]
    assert book.outputs(ANSWERS)[0]["text"] == "[] 4\n"


def test_a_guess_is_dragged_typed_and_kept(book: browser.Notebook) -> None:
    from playwright.sync_api import expect

    slider, number = book.page.locator(".sft-guess-range"), book.page.locator(".sft-guess-number")
    box = slider.bounding_box()
    book.page.mouse.move(box["x"] + 6, box["y"] + box["height"] / 2)
    book.page.mouse.down()
    book.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 2, steps=8)
    book.page.mouse.up()
    dragged = int(slider.input_value())
    assert 3 <= dragged <= 6 and number.input_value() == str(dragged)
    slider.press("ArrowRight")  # the notebook must leave the arrow keys to the slider
    assert slider.input_value() == str(dragged + 1)
    number.fill("8")
    number.press("Tab")
    expect(book.page.locator(".sft-guess-status")).to_contain_text("your guess 8 is kept")  # says the kernel
    book.run_cell(FIGURE)
    assert "you guessed 8" in book.outputs(FIGURE)[0]["data"]["text/plain"]
    number.fill("99")
    number.press("Tab")
    assert slider.input_value() == "9", "a number off the scale becomes its end"
    expect(book.page.locator(".sft-guess-status")).to_contain_text("your guess 9 is kept")
    book.run_cell(GUESS)
    assert book.page.locator(".sft-guess-range").input_value() == "9", "running the cell again keeps the guess"


def test_cells_are_labelled_by_mouse_and_by_keyboard(book: browser.Notebook) -> None:
    from playwright.sync_api import expect

    page = book.page
    start, status = page.locator(".sft-cells-start"), page.locator(".sft-cells-status")
    expect(page.locator(".sft-cells-image")).to_be_hidden()
    start.click()
    expect(status).to_have_text("cell 1 of 4")
    expect(page.locator(".sft-cells-image")).to_have_attribute("alt", "cell 1 of 4, to be labelled")
    page.locator(".sft-cells-class-1").click()
    expect(status).to_have_text("cell 2 of 4")
    page.keyboard.press("1")
    expect(status).to_have_text("cell 3 of 4")
    page.locator(".sft-cells-class-1").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    expect(status).to_contain_text("of 4 cells right in")
    expect(start).to_have_text("Play again")
    expect(start).to_be_focused()  # the keyboard goes on from where it was
    expect(page.locator(".sft-cells-score img")).to_have_attribute(
        "alt", status.inner_text() + " In order: " + _captions(book)
    )
    book.run_cell(ANSWERS)
    assert book.outputs(ANSWERS)[0]["text"] == "[1, 0, 1, 1] 4\n"
    saved = book.outputs(GAME)[0]["data"]
    assert "of 4 cells right" in saved["text/plain"] and "of 4 cells right" in saved["text/html"]
    book.run_cell(GAME)
    expect(page.locator(".sft-cells-status")).to_contain_text("of 4 cells right in")
    assert book.barriers() == [] and book.complaints == []


def _captions(book: browser.Notebook) -> str:
    alt = book.page.locator(".sft-cells-score img").get_attribute("alt")
    return alt.split(" In order: ")[1]
