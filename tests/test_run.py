"""One run of a notebook: what it leaves in its folder, what it refuses, and what it says of a failure."""

import dataclasses
import io
import json
import re
import signal
import subprocess
import sys
import time

import jupytext
import nbformat
import pytest
from click.testing import CliRunner
from jupyter_client import AsyncKernelManager

from sftlab.core import records
from sftlab.runs import notebooks, report
from sftlab.runs.cli import app
from sftlab.runs.parameters import NotebookError
from sftlab.runs.results import Facts
from sftlab.runs.run import execute, new_folder, run

ACCURACY = {"accuracy": records.Interval(0.5, 0.1, 0.9)}
SHARES = [[0.9, 0.1], [0.8, 0.2]]
RESULT = records.Result("test", ["a", "b"], ["1", "2"], [0, 1], SHARES, ACCURACY, {}, [[1, 0], [1, 0]], 1)

LESSON = f"""\
# %% [markdown]
# # What does *one* run leave, at $p_i = 1/2$?
#
# ![far away](https://example.org/far.png) $$\\sum_i p_i = 1$$ and a [link](https://example.org)

# %% tags=["parameters"]
LABELS: int = 100  # training images per class
NAME: str = "Ä"
OUT: str = ""  # folder for the results

# %%
if False:  # the rules are read, not run
    check_parameters(globals(), LABELS=(int, 1, 1000), NAME=str, OUT=str)

# %%
from pathlib import Path

record = {json.dumps(records.to_dict(RESULT))!r}
Path(OUT, "record.json").write_text(record.replace('"settings": {{}}', f'"settings": {{{{"labels": {{LABELS}}}}}}'))
for i in range(3):
    print(f"\\r{{i}} of 3", end="")
print("\\rdone")
"""

FAILING = """\
# %% tags=["parameters"]
N: int = 1

# %%
# a comment
x = {}
x["photos"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lesson.py").write_text(LESSON, encoding="utf-8")
    (tmp_path / "failing.py").write_text(FAILING, encoding="utf-8")
    return tmp_path


def command(*words):
    return CliRunner().invoke(app, list(words))


def test_run_leaves_notebook_report_and_record_in_a_dated_folder(folder):
    jupytext.write(jupytext.read(folder / "lesson.py"), folder / "lesson.ipynb")
    before = (folder / "lesson.ipynb").read_bytes()
    done = command("run", "lesson.ipynb", "-p", "LABELS", "7", "-p", "NAME", "-x=1", "--out", "kept")
    assert done.exit_code == 0, done.output
    (made,) = (folder / "kept").iterdir()
    assert {p.name for p in made.iterdir()} == {"lesson.ipynb", "lesson.html", "record.json", "run.json"}
    assert (folder / "lesson.ipynb").read_bytes() == before, "the notebook itself was changed"
    facts = Facts.read(made)
    assert facts.parameters == {"LABELS": 7, "NAME": "-x=1"} and facts.status == "finished" and facts.seconds > 0
    result = records.read(made / "record.json", records.Result)
    assert result.settings == {"labels": 7}
    assert "accuracy           0.500 (0.100–0.900)" in done.output and "test: 2 images" in done.output
    assert "always 'a' would give 0.500" in done.output
    assert "report    lesson.html" in done.output and "model" not in done.output
    assert "\nWhat does one run leave, at p_i = 1/2?\n" in done.output, "in a pipe a section is a line"

    html = (made / "lesson.html").read_text(encoding="utf-8")
    assert not report.FETCHED.search(html)
    assert "<title>What does one run leave, at p_i = 1/2?</title>" in html
    assert 'href="https://example.org"' in html, "a link to click is not a reference to fetch"
    assert html.count("<math ") == 2 and "$" not in re.sub("<[^>]*>", "", html[html.index("<main") :])
    assert "0 of 3" not in html
    assert "LABELS" in html and "<details" in html
    book = nbformat.read(made / "lesson.ipynb", as_version=4)
    tags = [tag for cell in book.cells for tag in cell.metadata.get("tags", [])]
    assert tags == ["parameters", "injected-parameters"]


class Terminal(io.StringIO):
    """Where a person looks on."""

    def isatty(self):
        return True


def test_in_a_terminal_one_line_shows_the_section_the_clock_and_what_a_cell_printed(folder, monkeypatch):
    said, terminal = [], Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for expected in (r"\d\d, 2 of 3", r"\d\d of 00:09 last time, done"):
        done = run("lesson.py", out="kept", say=said.append)
        assert re.search(rf"What does one run leave, at p_i = 1/2\?, 00:{expected}", terminal.getvalue())
        facts = Facts.read(done.folder)
        dataclasses.replace(facts, seconds=9.0).write(done.folder)
    assert len(said) == 2 and not any("What" in line for line in said)


@pytest.mark.slow
def test_ctrl_c_ends_a_run_in_a_sentence_that_promises_nothing(folder):
    (folder / "long.py").write_text("# %%\nimport time\nopen('begun', 'w').close()\ntime.sleep(600)", encoding="utf-8")
    words = [sys.executable, "-c", "from sftlab.runs.cli import app; app()", "run", "long.py"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while not (folder / "begun").exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=300)[0]
    assert process.returncode == 130 and "Traceback" not in printed
    assert re.search(r"stopped; .* runs/\S+/long.ipynb; the same command starts anew", printed), printed


def test_a_kernel_that_ended_well_is_not_interrupted(folder, monkeypatch):
    """It would report an error, now and then, below a run without one."""
    interrupted = []

    async def interrupt(self):
        interrupted.append(self)

    monkeypatch.setattr(AsyncKernelManager, "_async_interrupt_kernel", interrupt)
    run("lesson.py", out="runs")
    assert not interrupted


def test_a_wrong_parameter_is_refused_before_a_kernel_starts(folder, monkeypatch):
    monkeypatch.setattr(notebooks.Kernel, "__init__", lambda *_, **__: pytest.fail("a kernel was started"))
    done = command("run", "lesson.py", "-p", "LABLES", "3")
    assert done.exit_code and "LABLES is not a parameter of this notebook; did you mean 'LABELS'?" in done.output
    assert not (folder / "runs").exists(), "no folder for a run that never began"
    assert "requires 2 arguments" in command("run", "lesson.py", "-p", "LABELS").output
    assert "no notebook begins with 'nothing'" in command("run", "nothing").output


def test_a_failing_notebook_keeps_its_error(folder):
    with pytest.raises(NotebookError) as refused:
        run("failing.py", {"N": 2}, out="runs")
    assert "failing stopped at cell [3], which begins '# a comment':\nKeyError: 'photos'" in str(refused.value)
    (made,) = (folder / "runs").iterdir()
    assert "KeyError" in (made / "failing.ipynb").read_text(encoding="utf-8")
    assert "KeyError" in (made / "failing.html").read_text(encoding="utf-8")
    assert (made / "failing.html").name in str(refused.value)
    facts = Facts.read(made)
    assert facts.status == "failed" and facts.error.endswith("KeyError: 'photos'") and facts.parameters == {"N": 2}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import time\ntime.sleep(60)", "a cell took longer than 1 seconds"),
        ("import os\nos.kill(os.getpid(), 9)", "the kernel died"),
        ("import pathlib\npathlib.Path(OUT, 'record.json').write_text('{')", "what it kept cannot be read"),
    ],
    ids=["hangs", "dies", "damaged record"],
)
def test_what_goes_wrong_is_a_sentence(folder, code, words):
    (folder / "bad.py").write_text(f"# %% tags=['parameters']\nOUT = ''\n\n# %%\n{code}\n", encoding="utf-8")
    with pytest.raises(NotebookError, match=words):
        run("bad.py", out="runs", seconds=1)


class Stillborn(notebooks.Kernel):
    """Kernels of which the first `deaths` end before they answer, as where another kernel took their port."""

    deaths = 0

    def format_kernel_cmd(self, extra_arguments=None):
        Stillborn.deaths -= 1
        return [sys.executable, "-c", ""] if Stillborn.deaths >= 0 else super().format_kernel_cmd(extra_arguments)


@pytest.mark.parametrize(("deaths", "status"), [(1, "finished"), (2, "failed")])
def test_a_kernel_that_died_before_its_first_cell_is_started_once_more(folder, monkeypatch, deaths, status):
    monkeypatch.setattr(notebooks, "Kernel", Stillborn)
    monkeypatch.setattr(Stillborn, "deaths", deaths)
    facts = execute(notebooks.read(folder / "lesson.py"), folder / "lesson.py", folder / "made", {})
    assert facts.status == status
    assert facts.error == (
        "" if status == "finished" else "lesson: no kernel started: Kernel died before replying to kernel_info"
    )


def test_a_notebook_outside_a_clone_runs_and_is_kept_where_one_is(folder, monkeypatch):
    monkeypatch.setattr(notebooks, "lab_folder", lambda: folder / "no clone and no wheel")
    done = command("run", "lesson.py")
    assert done.exit_code == 0 and len(list((folder / "runs").iterdir())) == 1, done.output
    assert command("run", "mine.ipynb").exit_code == 1


def test_two_runs_in_one_second_get_two_folders(tmp_path):
    assert len({new_folder(tmp_path, "x") for _ in range(3)}) == 3
