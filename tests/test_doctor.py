"""`sftlab doctor` tries what the lessons need and says what mends what is missing."""

from collections import namedtuple

import pytest
from click.testing import CliRunner

from sftlab.runs import doctor
from sftlab.runs.cli import app

Disk = namedtuple("Disk", "total used free")


def test_a_machine_that_runs_these_tests_is_ready():
    done = CliRunner().invoke(app, ["doctor"])
    lines = done.output.splitlines()
    assert done.exit_code == 0, done.output
    assert [line[0] for line in lines[:-1]] == ["✓"] * 8 and lines[-1] == "The lab is ready."


@pytest.mark.parametrize(
    "name, place, value, words",
    [
        ("disk", "shutil.disk_usage", lambda _: Disk(1e9, 1e9, 1e6), "SFTLAB_DATA"),
        ("packages", "version", lambda name: "0.1", "torch 0.1"),
        ("memory", "MEMORY", 1e6, "shut down kernels"),
    ],
)
def test_what_is_missing_is_named_with_what_mends_it(monkeypatch, name, place, value, words):
    monkeypatch.setattr(doctor, "LOOKS", {name: doctor.LOOKS[name]})
    monkeypatch.setattr(f"sftlab.runs.doctor.{place}", value)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1 and "✗" in done.output and words in done.output
