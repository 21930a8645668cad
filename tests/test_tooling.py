"""What a clone brings along: its files agree with each other; notebooks are built, checked, cleaned."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import nbformat
import pytest
import yaml
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sftlab.runs import notebooks
from sftlab.runs.cli import app
from sftlab.runs.notebooks import name_of, sources
from sftlab.runs.parameters import NotebookError
from tools import checks, course
from tools import notebooks as tool
from tools.notebooks import build, check, publish, without_machine_paths

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LESSON = """\
# %% [markdown]
# # A lesson

# %% tags=["parameters"]
N: int = 3  # how many

# %%
import sys
from pathlib import Path

print(Path.cwd().parent.name == "clone", Path.cwd())
print("careful", file=sys.stderr)

# %%
await_is_allowed = __import__("asyncio").sleep(0)
await await_is_allowed
N + 1
"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with one lesson, and the working directory in it."""
    root = tmp_path / "clone"
    (root / "notebooks" / "src").mkdir(parents=True)
    (root / "notebooks" / "src" / "00_lesson.py").write_text(LESSON, encoding="utf-8")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def instant(monkeypatch):
    """Executing takes no kernel: every code cell gets its count and one line of output."""

    def execute(book, folder, **options):
        code = [cell for cell in book.cells if cell.cell_type == "code"]
        for count, cell in enumerate(code, 1):
            cell.execution_count, cell.outputs = count, [new_output("stream", name="stdout", text="done\n")]

    monkeypatch.setattr(tool, "execute", execute)


def command(*words):
    return CliRunner().invoke(app, list(words))


# --- the files of the clone


def test_constraints_pin_every_dependency_within_its_bound_and_what_those_depend_on():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==\d[\w.]*", str(pin.specifier)) for pin in pinned), "a version, no address"
    pins = {pin.name.lower(): str(pin.specifier)[2:] for pin in pinned if pin.marker is None or pin.marker.evaluate()}
    groups = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    asked = {name: [Requirement(line) for line in lines if "sftlab" not in line] for name, lines in groups.items()}
    for requirement in [one for requirements in asked.values() for one in requirements]:
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
    here = [one.name for name, requirements in asked.items() if name != "bench" for one in requirements]
    further = [Requirement(line) for name in here for line in requires(name) or [] if ";" not in line]
    assert len(further) > 50 and {canonicalize_name(one.name) for one in further} <= set(pins)
    if version("torchvision") == pins["torchvision"]:  # which says the torch that belongs to it
        (torch,) = [one for one in map(Requirement, requires("torchvision")) if one.name == "torch"]
        assert torch.specifier.contains(pins["torch"]), f"torchvision asks for {torch}"


def test_environment_yml_is_pyproject_for_conda():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == PROJECT["name"]
    *conda, pip = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert pip == {"pip": ["--constraint constraints.txt", "--editable .[text,keras]"]}


def test_make_alone_lists_every_target():
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"lab", "run", "test", "test-all", "notebooks", "clean", "help"} <= set(targets)
    assert re.findall(r"^  make (\S+) +\S", said, re.MULTILINE) == targets


@pytest.mark.parametrize(
    ("python", "says"), [("no-such-python", "There is no no-such-python here"), ("old", "needs Python 3.11")]
)
def test_make_names_a_python_that_cannot_be_used(tmp_path, python, says):
    if shutil.which("make") is None or sys.platform == "win32":
        pytest.skip("make is not installed")
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 1;; *) echo 3.9.2;; esac\n')
    old.chmod(0o755)
    python = str(old) if python == "old" else python
    words = ["make", "run", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and says in done.stdout
    assert not (tmp_path / "venv").exists()


def test_no_file_names_a_package_index_or_a_folder_of_this_machine():
    # put together here, so that this file does not contain what it looks for
    hosts = ["py" + "pi.org", "python" + "hosted", "download.py" + "torch", "index-" + "url", "find-" + "links"]
    folders = [re.escape(str(folder)) for folder in (ROOT, Path.home()) if len(str(folder)) > 4]
    pattern = re.compile("|".join(hosts + [rf"(?<![\w.]){folder}\b" for folder in folders]))
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is not a git clone")
    for path in [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]:
        found = pattern.search(path.read_text(encoding="utf-8", errors="ignore"))
        assert not found, f"{path.relative_to(ROOT)} contains {found[0]!r}"


def test_ci_calls_the_make_test_of_a_developer():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, "it can be executed"
    text = script.read_text(encoding="utf-8")
    assert "for target in test book test-all; do\n    make" in text and "pytest " not in text.replace("pytest's", "")


def test_the_public_workflow_calls_the_make_test_of_a_developer_on_three_systems():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    matrix, steps = workflow["jobs"]["test"]["strategy"]["matrix"], workflow["jobs"]["test"]["steps"]
    assert len(matrix["os"]) == 3 and matrix["python"][0] == PROJECT["requires-python"].removeprefix(">=")
    runs = [step["run"].splitlines() for step in steps if "run" in step]
    windows = ['python -m pip install -c constraints.txt -e ".[dev]"', "python -m tools.checks"]
    assert runs == [["make test PYTHON=python"], windows], "where there is no make, what it calls"


def test_messages_name_no_package_index_for_what_is_not_published():
    for path in [*(ROOT / "sftlab").rglob("*.py"), ROOT / "README.md"]:
        assert not re.search(r"pip install ['\"]?sftlab", path.read_text(encoding="utf-8")), path


def test_pre_commit_hooks_are_local_and_fetch_nothing():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert all(hook["language"] == "system" for repo in config["repos"] for hook in repo["hooks"])


def test_every_command_explains_itself():
    for name in ("lab", "run", "params", "sweep", "compare", "fetch", "predict", "export"):
        done = command(name, "--help")
        assert done.exit_code == 0 and len(done.output.splitlines()) > 5
    assert "run" in command("--help").output


# --- building notebooks


def test_build_executes_from_top_to_bottom_in_the_notebooks_folder_and_cleans(clone, capsys):
    recipe = clone / "notebooks" / "src" / "recipes" / "classic.py"
    recipe.parent.mkdir()
    recipe.write_text("# %%\nfrom pathlib import Path\n\nprint(Path.cwd())\n", encoding="utf-8")
    assert tool.main([]) == 0
    said = capsys.readouterr().out
    assert "cell 3 wrote to stderr, which is not published: careful" in said
    assert re.search(r"^built +recipes/classic\.ipynb", said, re.MULTILINE)
    book = nbformat.read(clone / "notebooks" / "00_lesson.ipynb", as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3] and len({cell.id for cell in book.cells}) == 4
    assert [output.text for output in code[1].outputs] == ["True notebooks\n"]
    assert code[2].outputs[0].data["text/plain"] == "4"
    book = nbformat.read(clone / "notebooks" / "recipes" / "classic.ipynb", as_version=4)
    assert book.cells[0].outputs[0].text == "notebooks/recipes\n"
    first = (clone / "notebooks" / "00_lesson.ipynb").read_bytes()
    assert tool.main(["--check"]) == 0 and tool.main([]) == 0 and "unchanged" in capsys.readouterr().out
    build(clone / "notebooks" / "src" / "00_lesson.py", force=True)
    assert (clone / "notebooks" / "00_lesson.ipynb").read_bytes() == first, "building twice gives the same bytes"


def test_a_lesson_that_fails_leaves_the_built_one_alone(clone, capsys):
    source, target = clone / "notebooks" / "src" / "00_lesson.py", clone / "notebooks" / "00_lesson.ipynb"
    target.write_text(nbformat.writes(new_notebook()), encoding="utf-8")
    source.write_text("# %%\n1 / 0\n", encoding="utf-8")
    before = target.read_bytes()
    assert tool.main(["--force"]) == 1
    said = capsys.readouterr().out
    assert "00_lesson stopped at cell [1], which begins '1 / 0':\nZeroDivisionError: division by zero" in said
    assert target.read_bytes() == before


def test_a_changed_source_is_built_again_and_an_unchanged_one_is_not(clone, instant):
    source = clone / "notebooks" / "src" / "00_lesson.py"
    assert build(source).outcome == "built"
    assert build(source).outcome == "unchanged"
    source.write_text(LESSON.replace("N + 1", "N + 2"), encoding="utf-8")
    assert build(source).outcome == "built"
    hidden = '# %% jupyter={"source_hidden": true}\nawait_is'
    source.write_text(LESSON.replace("# %%\nawait_is", hidden), encoding="utf-8")
    assert check(clone) != []
    assert build(source).outcome == "built"


def test_where_only_prose_has_changed_nothing_runs_again_and_the_outputs_stay(clone, instant, monkeypatch):
    source, target = clone / "notebooks" / "src" / "00_lesson.py", clone / "notebooks" / "00_lesson.ipynb"
    build(source)
    monkeypatch.setattr(tool, "execute", lambda *_, **__: pytest.fail("a kernel was started for prose"))
    source.write_text(LESSON + "\n# %% [markdown]\n# A last word.\n", encoding="utf-8")
    assert build(source).outcome == "built"
    book = notebooks.read(target)
    assert book.cells[-1].source == "A last word." and check(clone) == []
    assert [[o.text for o in cell.outputs] for cell in book.cells if cell.cell_type == "code"] == [["done\n"]] * 3


def test_a_learners_change_is_never_overwritten(clone, instant):
    source, target = clone / "notebooks" / "src" / "00_lesson.py", clone / "notebooks" / "00_lesson.ipynb"
    build(source)
    book = nbformat.read(target, as_version=4)
    book.cells[-1].source = "N + 100"
    nbformat.write(book, target)
    mine = target.read_bytes()
    for force in (False, True):
        done = build(source, force=force)
        assert done.outcome == "kept" and done.path.name == "00_lesson.new.ipynb" and done.path.is_file()
        assert target.read_bytes() == mine
    assert "holds changes of yours and was left alone" in str(done)
    assert notebooks.built(clone) == [target], "the new one is no lesson of its own"
    assert "notebooks/**/*.new.ipynb" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_outputs_and_runs_of_a_learner_are_no_change_and_a_notebook_of_theirs_is_kept(clone, instant):
    source, target = clone / "notebooks" / "src" / "00_lesson.py", clone / "notebooks" / "00_lesson.ipynb"
    build(source)
    book = nbformat.read(target, as_version=4)
    book.cells[-1].outputs, book.cells[-1].execution_count = [], 17
    nbformat.write(book, target)
    assert check(clone) == [] and build(source, force=True).outcome == "built"
    nbformat.write(new_notebook(cells=[new_code_cell("mine")]), target)  # not written by `build`
    assert build(source).outcome == "kept"


def test_check_names_the_cell_that_differs(clone, instant, capsys):
    source = clone / "notebooks" / "src" / "00_lesson.py"
    assert tool.main(["--check"]) == 1 and "00_lesson.ipynb has not been built" in capsys.readouterr().out
    build(source)
    source.write_text(LESSON.replace("N + 1", "N + 2"), encoding="utf-8")
    assert check(clone) == ["00_lesson.ipynb, cell 4: the source says 'N + 2', the notebook 'N + 1'"]
    source.write_text(LESSON.replace('tags=["parameters"]', ""), encoding="utf-8")
    assert "cell 2: a code cell in the source, a code cell tagged parameters" in check(clone)[0]
    source.write_text(LESSON + "\n# %%\n1\n", encoding="utf-8")
    assert check(clone) == ["00_lesson.ipynb, the source has 5 cells, the notebook 4"]
    source.rename(source.with_name("01_other.py"))
    assert "00_lesson.ipynb has no source" in check(clone)


# --- notebooks in a folder beside the lessons


@pytest.fixture
def recipes(clone, instant):
    """The clone with two recipes besides its lesson, one of them built."""
    src = clone / "notebooks" / "src" / "recipes"
    src.mkdir()
    for name in ("classic", "modern"):
        (src / f"{name}.py").write_text(LESSON, encoding="utf-8")
    build(src / "classic.py")
    return src


def test_recipes_stand_after_the_lessons_and_are_checked_like_them(clone, recipes):
    listed = [notebooks.name_of(path) for path in notebooks.sources(clone)]
    assert listed == ["00_lesson", "recipes/classic", "recipes/modern"]
    assert check(clone) == ["00_lesson.ipynb has not been built", "recipes/modern.ipynb has not been built"]
    assert check(clone, ["recipes"]) == ["recipes/modern.ipynb has not been built"]
    (recipes / "classic.py").rename(recipes / "other.py")
    assert "recipes/classic.ipynb has no source" in check(clone)


def test_a_recipe_is_found_by_both_its_names(clone, recipes):
    built = clone / "notebooks" / "recipes" / "classic.ipynb"
    for name in ("recipes/classic", "classic", "recipes/cl", "cl", "notebooks/recipes/classic.ipynb"):
        assert notebooks.find(name) == built, name
    assert notebooks.find("modern") == recipes / "modern.py", "not built yet: its source"
    with pytest.raises(NotebookError, match="several notebooks begin with 'recipes'; there are 00_lesson, recipes/cl"):
        notebooks.find("recipes")
    with pytest.raises(NotebookError, match="no notebook begins with 'recipes/x'"):
        notebooks.find("recipes/x")
    assert "N " in command("params", "recipes/classic").output


def test_folders_without_sources_hold_no_notebooks_of_ours(clone, recipes):
    for folder in (".ipynb_checkpoints", "mine", "recipes/.ipynb_checkpoints"):
        (clone / "notebooks" / folder).mkdir()
        nbformat.write(new_notebook(), clone / "notebooks" / folder / "classic-checkpoint.ipynb")
    (recipes / "__pycache__").mkdir()
    assert notebooks.built(clone) == [clone / "notebooks" / "recipes" / "classic.ipynb"]


# --- the publish form


def executed(*outputs, source="x"):
    cell = new_code_cell(source, execution_count=1, outputs=list(outputs))
    cell.metadata = {"execution": {"shell.execute_reply": "now"}, "papermill": {"duration": 1}, "tags": ["kept"]}
    book = new_notebook(cells=[new_markdown_cell("# A"), cell])
    book.metadata = {
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}},
        "papermill": {"duration": 1},
        "kernelspec": {"name": "other", "display_name": "Other"},
        "language_info": {"name": "python", "version": "3.11.7"},
    }
    return book


VIEW = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}


def published(*outputs, **options):
    return nbformat.reads(publish(executed(*outputs, **options), {"cells": "1"}, root=ROOT), as_version=4)


def test_publish_drops_what_belongs_to_one_run_on_one_machine():
    panel = new_output("display_data", {**VIEW, "text/html": "<figure>", "text/plain": "Panel()"})
    slider = new_output("display_data", {**VIEW, "text/plain": "IntSlider(value=3)"})
    spoken = new_output("display_data", {**VIEW, "text/plain": "a curve that falls"})
    book = published(panel, slider, spoken, new_output("stream", name="stderr", text="oh"))
    assert set(book.metadata) == {"kernelspec", "language_info", "sftlab"}
    assert book.metadata.kernelspec.name == "python3" and "version" not in book.metadata.language_info
    cell = book.cells[1]
    assert cell.metadata == {"tags": ["kept"]} and cell.execution_count == 1
    assert [dict(o.data) for o in cell.outputs] == [
        {"text/html": "<figure>", "text/plain": "Panel()"},
        {"text/plain": "a curve that falls"},
    ]


def test_publish_joins_printed_text_and_drops_what_was_overwritten():
    pieces = ["10 %", "\r 50 %", "\r100 %\n", "done\r\n"]
    book = published(*(new_output("stream", name="stdout", text=piece) for piece in pieces))
    assert [o.text for o in book.cells[1].outputs] == ["100 %\ndone\n"]


def test_publish_keeps_no_path_of_this_machine():
    packages = next(p for p in sys.path if p.endswith("-packages"))
    temporary = tempfile.gettempdir()
    said = f"{ROOT}/runs/a {ROOT}: {packages}/x {Path.home()}/b '{temporary}/c' {temporary}x <A at 0x7f001122>"
    expected = f"runs/a .: site-packages/x ~/b 'temporary/c' {temporary}x <A>"
    if str(Path.home()) in (str(ROOT), temporary):
        pytest.skip("the home folder is one of the others here")
    assert without_machine_paths(said, ROOT) == expected
    warned = f"{temporary}/ipykernel_123/456.py:1: UserWarning"
    assert without_machine_paths(warned, ROOT) == "cell:1: UserWarning"
    book = published(
        new_output("execute_result", {"text/html": f"<p>{ROOT}/x"}, execution_count=1),
        new_output("error", ename="E", evalue=f"{ROOT}/x", traceback=[f"{packages}/torch"]),
    )
    assert str(ROOT) not in json.dumps(book) and packages not in json.dumps(book)


def test_publish_refuses_what_was_not_run_and_what_is_too_large():
    book = executed()
    book.cells[1].execution_count = 3
    with pytest.raises(NotebookError, match="not executed once from top to bottom"):
        publish(book, {}, root=ROOT)
    with pytest.raises(NotebookError, match=r"1\.1 MB, more than 1 MB; most of it is the output of cell 2"):
        published(new_output("display_data", {"image/png": "A" * 1_100_000}))


# --- the checks


@pytest.mark.parametrize(
    ("words", "modules"), [([], ["ruff", "mypy", "tools.notebooks", "tools.course", "pytest"]), (["--all"], ["pytest"])]
)
def test_one_check_that_fails_fails_them_all_and_words_go_to_pytest(words, modules, monkeypatch, capsys):
    failing, commands, small = "", {}, []

    def run(module, *rest, **environment):
        commands[module] = rest
        small.extend(nbformat.read(word, 4) for word in rest if word.endswith(".ipynb"))
        return module != failing

    monkeypatch.setattr(checks, "run", run)
    assert checks.main([*words, "-k", "cache"]) == 0 and list(commands) == modules
    assert commands["pytest"][-2:] == ("-k", "cache")
    assert ("slow" if words else "not slow") in commands["pytest"]
    assert ("notebooks/exercises" in commands["pytest"]) == bool(words), "the solved exercises"
    assert len(small) == (0 if words else len(checks.SMALL)), "`make test-all` runs the lessons in the browser"
    for book in small:
        injected = any("injected-parameters" in cell.metadata.get("tags", []) for cell in book.cells)
        assert injected == bool(checks.SMALL[Path(book.metadata.papermill.input_path).stem])
    for failing in modules:  # noqa: B007
        assert checks.main(words) == 1
    assert "tests FAILED" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(("user", "words", "told"), [(0, [], True), (0, ["--allow-root"], False), (1000, [], False)])
def test_root_is_told_how_the_lab_opens_for_root(clone, monkeypatch, user, words, told):
    monkeypatch.setattr("os.geteuid", lambda: user, raising=False)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    done = command("lab", *words)
    assert done.exit_code == 1
    assert ("make lab ARGS=--allow-root" in done.output) == told


def test_what_is_said_of_a_lesson_is_said_in_one_file():
    told = yaml.safe_load((ROOT / "notebooks" / "lessons.yml").read_text(encoding="utf-8"))
    every = {name_of(path) for path in sources(ROOT)}
    assert {*told["core"], *told["further"]} == {name for name in every if not name.startswith("exercises/")}
    assert all(path.read_text(encoding="utf-8") == text for path, text in course.texts(told).items())
    told["core"]["04_freeze"]["minutes"] += 1
    told["core"]["04_freeze"]["discuss"] = "A new question?"
    differ = {path.name for path, text in course.texts(told).items() if path.read_text(encoding="utf-8") != text}
    assert differ == {"04_freeze.py", "00_start_here.py", "teaching.md"}
