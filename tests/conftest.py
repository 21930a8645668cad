"""Shared material: real cells, real digits, a tiny network; everything written goes to a temporary folder."""

import os
import signal
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

import sftlab as sft
from sftlab.runs.lab import copied
from sftlab.runs.notebooks import MY_LAB

matplotlib.use("agg")
signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script `make test &` ignores Ctrl+C, and children would
torch.set_num_threads(1)  # small networks gain nothing from a second thread, and two test processes would fight over it


@pytest.hookimpl(tryfirst=True)  # before pytest looks at `-m`
def pytest_collection_modifyitems(items):
    """Mark the notebooks of the clone as slow; what `make test` runs of them are small copies.

    The longest come first, so that short ones are left when one process has done its share.
    """
    items.sort(key=lambda item: item.path.stem not in ("test_lessons_browser", "test_further_browser"))
    for item in items:
        if item.path.suffix == ".ipynb" and item.path.is_relative_to(Path(__file__).parents[1] / "notebooks"):
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter):
    """Say what tests measured (`record_property`): where they run side by side, what they print is lost."""
    calls = [r for found in terminalreporter.stats.values() for r in found if getattr(r, "when", "") == "call"]
    if lines := [f"{name}: {value}" for call in calls for name, value in call.user_properties]:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory):
    """Features, decoded sets and downloads of the tests never touch the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SFTLAB_DATA", str(tmp_path_factory.mktemp("data")))
        yield Path(os.environ["SFTLAB_DATA"])


@pytest.fixture(scope="session")
def digits():
    return sft.load("digits", size=16, per_class=20)


@pytest.fixture(scope="session")
def blobs():
    """Two classes of 8×8 noise that differ in brightness: learnable in a few steps, ambiguous enough to err."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = rng.normal(110 + 25 * y[:, None, None, None], 60, (120, 3, 8, 8)).clip(0, 255).astype(np.uint8)
    return sft.from_arrays(x, y, name="blobs")


@pytest.fixture
def tiny(blobs):
    return sft.replace_head(sft.backbone("tiny"), blobs.classes)


@pytest.fixture
def dropping(blobs):
    """A tiny network with dropout before its head."""
    return sft.replace_head(sft.backbone("tiny", drop_rate=0.5), blobs.classes)


@pytest.fixture(autouse=True)
def own_random_state():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture
def forget():
    """Let no panel remember what was done to another one in another test."""
    from sftlab.widgets import base

    base.remembered.clear()
    yield
    base.remembered.clear()


@pytest.fixture
def expect():
    """Playwright's assertions, which wait until they hold."""
    from playwright.sync_api import expect

    return expect


@pytest.fixture(scope="module")
def my_lab(tmp_path_factory):
    """JupyterLab in a learner's own copy of all lessons, which is `my_lab.root`."""
    import browser

    root = tmp_path_factory.mktemp("home") / MY_LAB
    copied(root)
    with browser.lab(root, tmp_path_factory.mktemp("jupyter")) as opened:
        opened.root = root
        yield opened


@pytest.fixture
def house_style():
    """Draw in the lab's style, and leave no figure open."""
    import matplotlib.pyplot as plt

    from sftlab.plot import style

    with plt.rc_context():
        style.use()
        yield
    plt.close("all")


def same(a, b):
    """Tell whether two networks store exactly the same numbers."""
    return sft.fingerprint(a) == sft.fingerprint(b)
