"""Exercises: solutions pass, blanks are "not yet", wrong answers get the sentence meant for them, nothing raises."""

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sftlab.lessons import checks
from sftlab.lessons.checks import Verdict, Wrong, check, progress
from sftlab.runs import notebooks
from sftlab.runs.cli import app
from sftlab.runs.lab import exercises

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks" / "src" / "exercises").glob("*.py"))
LESSONS = [path.stem for path in SOURCES]
NAMES = {  # of the three checks of each lesson; the first one judges a number, the others what a function does
    path.stem: [
        cell.source.removeprefix("check.").partition("(")[0]
        for cell in notebooks.read(path).cells
        if cell.source.startswith("check.")
    ]
    for path in SOURCES
}
MOST = 40  # lines of a lesson's checks
ABSURD = ("six", None, [], [1, 2], {}, object(), int, np.zeros(2), torch.zeros(3), float("nan"), float("-inf"))


def run(book):
    """Run the code cells of a notebook in one namespace; return the verdicts of its checks, in order."""
    names, verdicts = {}, []
    for cell in book.cells:
        if cell.cell_type == "code" and cell.source.startswith("check."):
            verdicts.append(eval(cell.source, names))
        elif cell.cell_type == "code":
            with redirect_stdout(StringIO()):
                exec(cell.source, names)
    return verdicts


def tagged(book, tag):
    return [cell for cell in book.cells if tag in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("path", SOURCES, ids=LESSONS)
def test_three_exercises_whose_solutions_are_right_and_whose_blanks_are_not_yet(path):
    book = notebooks.read(path)
    assert [len(tagged(book, tag)) for tag in ("blank", "hint", "solution")] == [3, 3, 3]
    assert [bool(verdict) for verdict in run(book)] == [True] * 3
    learners = exercises(notebooks.read(path), "folded")
    folded = [cell for cell in learners.cells if cell.source.startswith("<details>")]
    assert len(folded) == 6 and not tagged(learners, "solution")
    assert all(not verdict and verdict.sentence.startswith("Not yet") for verdict in run(learners))
    solved = exercises(notebooks.read(path), "solved")
    assert not tagged(solved, "blank") and len(tagged(solved, "solution")) == 3


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_check_has_its_own_sentence_for_the_commonest_wrong_answers(lesson):
    module = importlib.import_module(f"sftlab.lessons.{lesson}")
    answers = importlib.import_module(f"answers.{lesson}").ANSWERS
    for name in NAMES[lesson]:
        wrong = [words for asked, *_, words in answers if asked == name]
        assert len(wrong) >= 2 and len(set(wrong)) >= 2, f"{name} has two wrong answers with a sentence each"
    for name, *answer, words in answers:
        verdict = getattr(module, name)(*answer)
        assert not verdict and words in verdict.sentence, f"{name}: {words!r} is not in {verdict}"


@pytest.mark.parametrize(("lesson", "name"), [(lesson, name) for lesson in LESSONS for name in NAMES[lesson]])
def test_an_absurd_answer_gets_a_sentence(lesson, name):
    judge = getattr(importlib.import_module(f"sftlab.lessons.{lesson}"), name)
    is_number = name == NAMES[lesson][0]
    functions = [lambda *_, value=value: value for value in ABSURD[:4]]
    for answer in ABSURD if is_number else (*ABSURD[:4], *functions):
        verdict = judge(answer)
        assert not verdict and len(verdict.sentence) > 20, answer
        assert not is_number or re.match(
            r"Asked is a number; this is of type \w+\.|\S+ is not the number", verdict.sentence
        )


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_checks_of_a_lesson_are_short(lesson):
    module, lines = importlib.import_module(f"sftlab.lessons.{lesson}"), 0
    for name in NAMES[lesson]:
        source = inspect.getsource(getattr(module, name))
        doc, rows = ast.parse(source).body[0].body[0], source.splitlines()
        assert isinstance(doc.value.value, str), f"{name} says what it checks"
        lines += sum(bool(row.strip()) for row in rows[: doc.lineno - 1] + rows[doc.end_lineno :])
    assert lines <= MOST


@check
def _positive(number):
    torch.rand(3)
    if number < 0:
        raise Wrong(f"{number} is below zero.")
    return f"{number} is positive."


def test_a_check_never_raises_and_leaves_the_random_numbers_of_the_notebook_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    assert _positive(1) == Verdict(True, "1 is positive.") and repr(_positive(1)) == "✓ 1 is positive."
    assert _positive(-1).sentence == "-1 is below zero." and _positive(...).sentence.startswith("Not yet")
    assert _positive("a").sentence == (
        "Your code stopped with TypeError: '<' not supported between instances of 'str' and 'int'"
    )
    assert torch.equal(torch.rand(2), expected)


def test_checks_and_lessons_read_what_is_public_and_nothing_else():
    for path in Path(checks.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                assert not re.match("_[^_]", node.attr), f"{path.name}:{node.lineno} reads {node.attr}"


def test_progress_is_noted_only_in_a_learners_folder_and_what_was_once_right_stays(tmp_path):
    folder = tmp_path / "exercises"
    folder.mkdir()
    with chdir(folder):
        _positive(1)
        assert not list(folder.iterdir()), "a folder that is not a learner's"
        Path(checks.PROGRESS).write_text("{}", encoding="utf-8")
        _positive(-1)
        assert json.loads(Path(checks.PROGRESS).read_text(encoding="utf-8")) == {"test_exercises": {"_positive": False}}
        _positive(1)
        _positive(-1)
        assert json.loads(Path(checks.PROGRESS).read_text(encoding="utf-8")) == {"test_exercises": {"_positive": True}}
    with chdir(tmp_path):
        assert progress() == "Exercises answered so far: test_exercises: 1 of 3"
        (folder / checks.PROGRESS).write_text("damaged", encoding="utf-8")
        assert progress() == "Exercises answered so far: none"
    with chdir(folder):
        assert _positive(1), "a damaged file costs no verdict"


def test_a_class_gets_its_copy_and_what_is_there_stays(tmp_path):
    def student(*words):
        done = CliRunner().invoke(app, ["student", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    folder = tmp_path / "class"
    student(str(folder), "--core")
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"exercises", "sweeps"}
    mine = folder / "exercises" / "freeze.ipynb"
    book = nbformat.read(mine, as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells) and tagged(book, "blank")
    assert (folder / "exercises" / checks.PROGRESS).read_text(encoding="utf-8") == "{}"
    book.cells[0].source = "mine"
    nbformat.write(book, mine)
    student(str(folder))
    assert nbformat.read(mine, as_version=4).cells[0].source == "mine" and (folder / "further").is_dir()
    student(str(tmp_path / "teacher"), "--answers")
    solved = nbformat.read(tmp_path / "teacher" / "exercises" / "freeze.ipynb", as_version=4)
    assert not tagged(solved, "blank") and tagged(solved, "solution")
    assert not (folder / "teaching.md").exists() and (tmp_path / "teacher" / "teaching.md").exists()


def test_a_course_of_nbgrader_keeps_what_its_teacher_changed_and_takes_no_other_form(tmp_path):
    assert CliRunner().invoke(app, ["student", str(tmp_path), "--nbgrader"]).exit_code == 0
    changed = [tmp_path / "nbgrader_config.py", tmp_path / "source" / "freeze" / "freeze.ipynb"]
    for path in changed:
        path.write_text("mine", encoding="utf-8")
    assert CliRunner().invoke(app, ["student", str(tmp_path), "--nbgrader"]).exit_code == 0
    assert [path.read_text(encoding="utf-8") for path in changed] == ["mine", "mine"]
    done = CliRunner().invoke(app, ["student", str(tmp_path), "--nbgrader", "--core"])
    assert done.exit_code == 2 and "--nbgrader makes the exercises alone" in done.output


@pytest.mark.slow
def test_nbgrader_releases_fetches_submits_collects_grades_and_hands_feedback_back(tmp_path):
    pytest.importorskip("nbgrader", reason='pip install -e ".[nbgrader]"')
    course, ada = tmp_path / "course", tmp_path / "ada"
    ada.mkdir()
    assert CliRunner().invoke(app, ["student", str(course), "--nbgrader"]).exit_code == 0
    exchange = [f"--Exchange.root={tmp_path / 'exchange'}", f"--Exchange.cache={tmp_path / 'cache'}"]

    def nbgrader(folder, command, *words):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it calls another command by name
        line = [sys.executable, "-m", "nbgrader", command, "freeze", *words]
        done = subprocess.run(line, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def student(command, *words):
        nbgrader(ada, command, "--course=sftlab", *words, *exchange)

    nbgrader(course, "generate_assignment")
    nbgrader(course, "release_assignment", *exchange)
    student("fetch_assignment")
    own = ada / "freeze" / "freeze.ipynb"
    book = nbformat.read(own, as_version=4)
    blanks = [cell for cell in book.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert blanks[0].source.strip() == "share = ..."
    assert not any("SOLUTION" in cell.source for cell in book.cells)
    blanks[0].source = "share = 0.37"
    nbformat.write(book, own)
    student("submit", "--student=ada")  # by another name than one's own: collecting warns, and goes on
    nbgrader(course, "collect", *exchange)
    nbgrader(course, "autograde")
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as grades:
        submission = grades.find_submission("freeze", "ada")
        assert (submission.score, submission.max_score) == (1, 3)
    nbgrader(course, "generate_feedback")
    nbgrader(course, "release_feedback", *exchange)
    student("fetch_feedback", "--student=ada")
    (page,) = (ada / "freeze" / "feedback").rglob("freeze.html")
    feedback = page.read_text(encoding="utf-8")
    assert "Score: 1.0 / 3.0" in feedback
    assert "37 % of the work is left" in feedback and feedback.count("Not yet: the cell above") == 2
