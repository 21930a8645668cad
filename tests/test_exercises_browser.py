"""Exercises in a learner's own folder, in JupyterLab: blank, answered wrong, answered right."""

import importlib
import json
from pathlib import Path

import browser
import pytest

from sftlab.runs import notebooks

pytestmark = [browser.needed, pytest.mark.slow]
LESSONS = sorted(path.stem for path in (Path(__file__).parents[1] / "notebooks" / "src" / "exercises").glob("*.py"))


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_blank_a_wrong_and_a_right_answer_are_told_apart_in_words(my_lab, lesson):
    source = notebooks.read(notebooks.find(f"notebooks/src/exercises/{lesson}.py"))
    solution = next(cell.source for cell in source.cells if "solution" in cell.metadata.get("tags", []))
    check = next(cell.source for cell in source.cells if cell.source.startswith("check."))
    name, wrong, words = next(
        (name, repr(answer[0]), answer[-1])
        for name, *answer in importlib.import_module(f"answers.{lesson}").ANSWERS
        if check.startswith(f"check.{name}(") and not callable(answer[0]) and len(answer) == 2
    )
    notebook = my_lab(f"exercises/{lesson}.ipynb")

    def verdict():
        notebook.run_cell(checked)
        return notebook.outputs(checked)[-1]["data"]["text/plain"]

    def answer(text):
        code = "([i, text]) => " + browser.NOW + ".content.widgets[i].model.sharedModel.setSource(text)"
        notebook.page.evaluate(code, [blank, text])
        notebook.run_cell(blank)

    notebook.run_all()
    cells = notebook.page.evaluate(f"() => {browser.NOW}.content.widgets.map(c => c.model.sharedModel.source)")
    blank = next(i for i, text in enumerate(cells) if text.endswith(" = ..."))
    checked = next(i for i, text in enumerate(cells) if text.startswith("check."))
    assert verdict().startswith("✗ Not yet")
    answer(cells[blank].replace("...", wrong))
    assert verdict().startswith("✗") and words in verdict()
    answer(solution)
    assert verdict().startswith("✓")
    assert json.loads((my_lab.root / "exercises" / "progress.json").read_text(encoding="utf-8"))[lesson] == {name: True}
    assert notebook.page.locator("details summary").first.inner_text() == "Hint"
    assert notebook.errors() == [] and notebook.complaints == [] and notebook.barriers() == []
    notebook.close()
