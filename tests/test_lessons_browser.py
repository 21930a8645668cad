"""Every core lesson as a learner finds it, in JupyterLab: Run All, then every live control under a learner's hands."""

import browser
import pytest

pytestmark = [browser.needed, pytest.mark.slow]
EXPLORERS = {  # the panels of each lesson, by the name that their CSS classes carry
    "00_start_here": [],
    "01_select": ["prepare"],
    "02_head": ["tap"],
    "03_loss": ["bars", "wrong"],
    "04_freeze": ["freeze"],
    "05_rate": ["valley", "cockpit"],
    "06_finetune": ["tunnel"],
    "07_overfit": [],
    "08_evaluate": ["peek"],
    "09_decide": ["piles"],
    "10_your_own_images": [],
}


def changes(page, name, act):
    """Do something to a control and wait until its picture is another one, or its status says why there is none."""
    picture, status = (page.query_selector(f".sft-{name}-{part}") for part in ("picture", "status"))
    before = picture.get_attribute("src")
    act()
    page.wait_for_function(
        "([picture, status, before]) => picture.src !== before || status.innerText.includes('cannot be drawn')",
        arg=[picture, status, before],
        timeout=60_000,
    )
    assert "cannot be drawn" not in status.inner_text(), status.inner_text()


@pytest.mark.parametrize("lesson", EXPLORERS)
def test_every_control_of_a_lesson_moves_its_picture(my_lab, expect, lesson):
    walk(my_lab(f"{lesson}.ipynb"), expect, EXPLORERS[lesson])


def walk(notebook, expect, panels):
    """Run all of a lesson, then do something to each control of its `panels`, which are all that it has."""
    notebook.run_all()
    assert notebook.errors() == []
    page = notebook.page
    shown = page.eval_on_selector_all(".sft-explore", "found => found.map(e => e.className.split(' sft-').pop())")
    assert shown == panels, "a panel that no test knows"
    for name in set(panels) - {"cockpit", "tunnel"}:  # which train; they come below
        panel, picture = page.locator(f".sft-explore.sft-{name}"), page.locator(f".sft-{name}-picture")
        panel.scroll_into_view_if_needed()
        assert picture.get_attribute("alt") and picture.get_attribute("src").startswith("data:image/")
        for slider in panel.locator("input[type=range]").all():
            at_end = slider.input_value() == slider.get_attribute("max")
            changes(page, name, lambda s=slider, e=at_end: s.press("Home" if e else "End"))
        for group in panel.locator("[role=radiogroup]").all():
            other = group.locator("label:not(:has(input:checked))").last
            changes(page, name, lambda o=other: o.click())
        boxes, buttons = panel.locator("input[type=checkbox]"), panel.locator("button")
        for control in boxes.all() + buttons.all():  # the buttons last: a text without words reads the same backwards
            changes(page, name, lambda c=control: c.click())
    if "cockpit" in panels:
        rows = page.locator(".sft-cockpit-runs tbody tr")
        before = rows.count()
        page.locator(".sft-cockpit-rate-input").press("ArrowRight")
        expect(rows).to_have_count(before + 1)
    if "tunnel" in panels:
        page.get_by_label("stem").first.press("ArrowUp")
        expect(page.locator(".sft-tunnel-status")).to_contain_text("Run 2 after")
    assert notebook.barriers() == []
    notebook.run_cell(1)  # the imports: the kernel is alive and well
    assert notebook.errors() == [] and notebook.complaints == []
    notebook.close()
