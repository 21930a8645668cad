"""The wind tunnel under a learner's hands: bars are painted, runs are stopped, old and new accuracy move."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest

pytestmark = [pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.WHY_NOT), pytest.mark.slow]

CELLS = [
    "import numpy as np\nimport sftlab as sft\nfrom sftlab import style, widgets\nstyle.use()",
    "data = sft.load('digits')\nx, y = data.train.images, data.train.targets.numpy()\n"
    "old = sft.from_arrays(x[y < 5], y[y < 5])\n"
    "new = sft.from_arrays(x[y >= 5], y[y >= 5] - 5, per_class=10)\n"
    "source = sft.replace_head(sft.backbone('tiny'), old.classes)\n"
    "sft.fit(source, old, sft.full(source, 1e-2), epochs=5, verbose=False)",
    "tunnel = widgets.wind_tunnel(source, old, new, epochs=10, batchnorm='frozen', batch_size=16)\nawait tunnel.run()",
    "print(len(tunnel.runs), tunnel.profile)",
    "slow = widgets.wind_tunnel(source, old, new, epochs=4000, name='slow', batchnorm='frozen')",
]
TUNNEL, SAID = 2, 3
STAGES = ("stem", "layer1", "layer2", "head")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Notebook]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    root, home = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter")
    browser.write_notebook(Path(root) / "tunnel.ipynb", CELLS)
    with browser.jupyterlab(root, home) as server, playwright.sync_playwright() as program:
        chromium = program.chromium.launch(executable_path=browser.CHROMIUM, headless=True, args=browser.FLAGS)
        notebook = browser.Notebook(chromium.new_page(viewport={"width": 1400, "height": 1400}), server)
        notebook.open("tunnel.ipynb")
        notebook.run_all()
        yield notebook
        notebook.close()
        chromium.close()


def positions(book: browser.Notebook) -> list[int]:
    """Return where the bars stand, stem first; 0 is frozen."""
    return [int(book.page.locator(f".sft-tunnel-{stage}-input").input_value()) for stage in STAGES]


def words_of(number: int) -> re.Pattern[str]:
    """Return a pattern for the words of a picture whose newest run has this number."""
    return re.compile(rf"^Run {number}: .* of the new one\.")


def test_an_unattended_run_leaves_a_picture_with_words(book: browser.Notebook) -> None:
    assert book.errors() == []
    (output,) = book.outputs(TUNNEL)
    assert next(iter(output["data"])).startswith("application/vnd.jupyter.widget-view"), output["data"].keys()
    assert 'alt="Run 1: ' in output["data"]["text/html"]
    assert "of the old task" in output["data"]["text/plain"]


def test_a_bar_answers_to_the_keyboard_and_a_new_run_appears(book: browser.Notebook) -> None:
    from playwright.sync_api import expect

    page = book.page
    bar, image = page.get_by_label("stem").first, page.locator(".sft-tunnel-picture")
    before = image.get_attribute("src")
    bar.press("Home")
    expect(page.locator(".sft-tunnel .sft-bar output").first).to_have_text("frozen")
    expect(page.locator(".sft-tunnel-status")).to_contain_text("Run 2 after")
    expect(image).not_to_have_attribute("src", before or "")
    expect(image).to_have_attribute("alt", words_of(2))
    bar.press("ArrowUp")
    expect(page.locator(".sft-tunnel .sft-bar output").first).to_have_text("1e-5")
    expect(page.locator(".sft-tunnel-status")).to_contain_text("Run 3 after")


def test_one_stroke_paints_several_bars(book: browser.Notebook) -> None:
    from playwright.sync_api import expect

    page = book.page
    first, last = (page.locator(f".sft-tunnel-{stage}-input").bounding_box() for stage in ("stem", "head"))
    page.mouse.move(first["x"] + first["width"] / 2, first["y"] + 0.75 * first["height"])
    page.mouse.down()
    page.mouse.move(last["x"] + last["width"] / 2, last["y"] + 0.15 * last["height"], steps=30)
    page.mouse.up()
    expect(page.locator(".sft-tunnel-status")).to_contain_text("Run 4 after")
    values = positions(book)
    assert values == sorted(values) and values[0] < values[-1], values
    book.run_cell(SAID)
    assert book.outputs(SAID)[0]["text"].startswith("4 {'stem': ")
    book.run_cell(TUNNEL)
    assert positions(book) == values, "running the cell again keeps what was painted"


def test_stop_ends_a_long_run_and_its_path_stays(book: browser.Notebook) -> None:
    from playwright.sync_api import expect

    page = book.page
    stop = page.locator(".sft-slow-stop-input")
    expect(stop).to_be_disabled()
    page.locator(".sft-slow-train-input").click()
    expect(page.locator(".sft-slow-status")).to_contain_text("of 4000")
    stop.click()
    expect(page.locator(".sft-slow-status")).to_contain_text("It was stopped.")
    expect(stop).to_be_disabled()
    page.locator(".sft-slow-forget-input").click()
    expect(page.locator(".sft-slow-picture")).to_have_attribute("alt", "No run yet: paint a profile and let go.")
    assert book.barriers() == [] and book.errors() == [] and book.complaints == []
