"""Lesson 10 under a learner's hands, on photographs of their own: labels are corrected, photographs dropped."""

import csv
from pathlib import Path

import browser
import nbformat
import numpy as np
import pytest
from PIL import Image

import sftlab as sft

pytestmark = [browser.needed, pytest.mark.slow]

LESSON = Path(__file__).parents[1] / "notebooks" / "10_your_own_images.ipynb"
CHANGED = {"DATA": '"folder:../cells"', "SIZE": "96", "STRATEGY": '"probe"'}
EACH = 40  # photographs a class


def write_folder(folder):
    """Write real cells as photographs of two classes."""
    data = sft.load("solar")
    y = data.train.y.numpy()
    for k, name in enumerate(data.classes):
        (folder / name).mkdir(parents=True)
        for i in np.flatnonzero(y == k)[:: (y == k).sum() // EACH][:EACH]:
            Image.fromarray(data.train.images[data.train.index[i]][0]).save(folder / name / f"cell_{i}.png")


def write_lesson(path):
    """Copy the lesson with other parameters, as papermill would."""
    book = nbformat.read(LESSON, as_version=4)
    cell = next(c for c in book.cells if "parameters" in c.metadata.get("tags", []))
    cell.source += "".join(f"\n{name} = {value}" for name, value in CHANGED.items())
    path.parent.mkdir()
    nbformat.write(book, path)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    write_folder(root / "cells")
    write_lesson(root / "notebooks" / "lesson.ipynb")
    with browser.lab(root, tmp_path_factory.mktemp("jupyter")) as opened:
        notebook = opened("notebooks/lesson.ipynb")
        notebook.root = root
        notebook.run_all()
        assert notebook.errors() == []
        yield notebook
        assert notebook.barriers(".sft-relabel") + notebook.barriers(".sft-upload") == []
        assert notebook.errors() == [] and notebook.complaints == []
        notebook.close()


def cell_of(book, words):
    """Return the number of the cell whose source has these words."""
    return next(i for i, source in enumerate(book.sources()) if words in source)


def test_an_unattended_run_leaves_figures_with_words(book, expect):
    for words, said in (("widgets.relabel", "most likely mislabelled"), ("widgets.upload", "of the valid split")):
        data = next(o["data"] for o in book.outputs(cell_of(book, words)) if "text/html" in o.get("data", {}))
        assert next(iter(data)) == browser.VIEW
        assert "<figure" in data["text/html"] and said in data["text/plain"]
    assert not (book.root / "notebooks" / "corrections_cells.csv").exists(), "looking corrects nothing"


def test_a_label_is_corrected_with_the_keyboard_and_the_next_run_uses_it(book, expect):
    page, table = book.page, book.root / "notebooks" / "corrections_cells.csv"
    before = {path: path.read_bytes() for path in (book.root / "cells").rglob("*.png")}
    select = page.locator(".sft-relabel-select").first
    select.scroll_into_view_if_needed()
    was, name = select.input_value(), page.locator(".sft-tile img").first.get_attribute("alt").split(",")[0]
    select.press("ArrowUp" if was == "1" else "ArrowDown")  # the notebook must leave the arrow keys to the field
    expect(page.locator(".sft-relabel-status")).to_contain_text("1 correction in corrections_cells.csv")
    expect(page.locator(".sft-tile").first).to_contain_text("the data say")
    (row,) = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    classes = ["defect", "intact"]
    assert row["file"] == name and (row["old"], row["new"]) == (classes[int(was)], classes[1 - int(was)])
    assert before == {path: path.read_bytes() for path in (book.root / "cells").rglob("*.png")}
    page.locator(".sft-relabel-group-1").click()
    expect(page.locator(".sft-relabel-select").first).to_be_visible()
    corrected = cell_of(book, "sft.corrected(")
    book.run_cell(corrected)
    assert "corrections_cells.csv corrects train: 1 with a new label" in book.outputs(corrected)[-1]["text"]


def test_photographs_are_answered_refused_or_named_as_unreadable(book, expect, tmp_path):
    import sklearn

    page = book.page
    field, status = page.locator(".sft-upload-input"), page.locator(".sft-upload-status")
    picture, rows = page.locator(".sft-upload-picture"), page.locator(".sft-upload-rows tbody tr")
    field.scroll_into_view_if_needed()
    expect(page.get_by_label("Photographs for the network", exact=True).first).to_be_visible()
    expect(status).to_contain_text("an image of the valid split")
    shown = picture.get_attribute("src")

    field.set_input_files(Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg")
    expect(status).to_contain_text("china.jpg: neither: unlike every training image")
    expect(picture).not_to_have_attribute("src", shown)
    assert "With a heat map" in picture.get_attribute("alt")

    cell = next((book.root / "cells" / "defect").glob("*.png"))
    field.set_input_files(cell)
    expect(status).to_contain_text(f"{cell.name}: ")
    expect(rows).to_have_count(2)
    assert rows.first.locator("td").nth(1).inner_text() in ("defect", "intact")

    (tmp_path / "letter.jpg").write_text("no picture")
    field.set_input_files(tmp_path / "letter.jpg")
    expect(status).to_contain_text("letter.jpg: cannot be read: not a picture in a format that can be read")
    expect(status).to_have_class("sft-status sft-upload-status sft-error")
    assert picture.get_attribute("src"), "the last answer stays"
    rows.nth(1).locator("button").press("Enter")
    expect(status).to_contain_text(f"{cell.name}: ")
    field.set_input_files(cell)
    expect(rows).to_have_count(4)
    expect(status).to_contain_text(f"{cell.name}: ")  # the same answer is one, too


def test_a_photograph_larger_than_a_message_may_be_arrives(book, expect, tmp_path):
    large = tmp_path / "large.bmp"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (2100, 2100, 3), dtype=np.uint8)).save(large)
    assert large.stat().st_size > 10_000_000, "Jupyter's limit of a message"
    book.page.locator(".sft-upload-input").set_input_files(large)
    expect(book.page.locator(".sft-upload-status")).to_contain_text("large.bmp: neither")


def test_photographs_can_be_dropped(book, expect):
    transfer = book.page.evaluate_handle(
        "async () => { const canvas = new OffscreenCanvas(64, 64), d = new DataTransfer();"
        " canvas.getContext('2d').fillRect(8, 8, 40, 20);"
        " d.items.add(new File([await canvas.convertToBlob()], 'drawn.png', { type: 'image/png' })); return d; }"
    )
    book.page.dispatch_event(".sft-drop", "drop", {"dataTransfer": transfer})
    expect(book.page.locator(".sft-upload-status")).to_contain_text("drawn.png: ")


def test_a_photograph_for_a_kernel_that_is_gone_is_not_called_unreadable(book, expect):
    status = book.page.locator(".sft-upload-status")
    book.restart()
    book.page.locator(".sft-upload-rows button").first.press("Enter")
    expect(status).to_contain_text("run this cell again")
    book.page.locator(".sft-upload-input").set_input_files(next((book.root / "cells" / "intact").glob("*.png")))
    expect(status).to_have_text("No answer yet. If the kernel was restarted, run this cell again.")
