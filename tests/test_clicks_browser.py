"""Random hands on every widget in a real JupyterLab, in one tab and in two; page and kernel agree at the end.

`CLICKS=500 pytest tests/test_clicks_browser.py` is the campaign whose figures stand in README.md here.
"""

import json
import os
import random
from collections import Counter

import browser
import pytest
from small_sets import picture
from test_tour_browser import drag

CLICKS = int(os.environ.get("CLICKS", 0))  # actions on each widget
SEED = os.environ.get("SEED", "")  # others do other things
pytestmark = [browser.needed, pytest.mark.slow, pytest.mark.skipif(not CLICKS, reason="a campaign: set CLICKS")]
GROWTH = 8  # MB that the second half of them may take; a loading of the page leaves 0.15, in a thread of ipykernel

START = """
import gc, json, os, sys, threading, time
import numpy as np, psutil
from IPython import get_ipython
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
import sftlab as sft
from sftlab.core import monitors
from sftlab.data.label_fixes import read_corrections
from sftlab.widgets import *
from sftlab.widgets.base import Panel

shell = get_ipython()

def draw(**values):
    ax = Figure(figsize=(5, 2), layout="constrained").add_subplot()
    ax.set_title(repr(values))
    return ax

def left(panels):
    if "sftlab-widget" in {thread.name for thread in threading.enumerate()}:
        return 1  # not counted: in a tuple that somebody else looks at, a thread at work cannot put anything
    sys.last_value = sys.last_exc = sys.last_traceback = None  # an interrupted cell's frames hold its panel,
    shell.last_execution_result = shell.InteractiveTB.tb = None  # and IPython holds them as well
    gc.collect()
    return sum(issubclass(type(thing), Panel) for thing in gc.get_objects()) - len(panels)

def hold(*panels):
    '''Print what the page must show when all that was asked is done, and how the kernel is.'''
    end = time.monotonic() + 240  # forty epochs on a busy machine
    while left(panels) and time.monotonic() < end:
        time.sleep(0.1)
    held = {name: [] for name in ("places", "status", "pictures", "rows")} | {"tiles": {}}
    for panel in panels:
        view = getattr(panel, "inputs", panel.view)
        words = getattr(view, "answer", view.spoken)
        places = [view.state[key] for key in panel.lasting] if hasattr(panel, "lasting") else []
        held["places"] += np.hstack([*places, []]).tolist()
        if isinstance(panel, predict):
            held["places"] += 2 * [panel.value]
            continue
        held["status"].append(next(filter(None, (words.get(key) for key in ("said", "alt")))))
        if isinstance(panel, explore):
            held["pictures"].append(repr(panel.values))
        elif isinstance(panel, wind_tunnel | upload):
            held["pictures"].append(getattr(view, "drawn", words)["alt"])
        elif isinstance(panel, relabel):
            rows, names = read_corrections(panel.path), [*panel.classes, ""]
            labels = {i: rows[key].new if key in rows else panel._given[i] for i, key in panel._keys.items()}
            held["tiles"] |= {f"image {i} of train": names.index(label) for i, label in labels.items()}
        if isinstance(panel, upload):
            held["rows"] += [row[:3] for row in view.rows]
        elif isinstance(panel, cockpit):
            held["rows"] += [[str(run.number), *run.row()] for run in reversed(panel.runs)]
    names = sorted(thread.name for thread in threading.enumerate())
    threads = [name for name in names if "subshell" not in name]  # of which each loading of the page makes one
    kernel = {"pid": os.getpid(), "threads": threads, "training": monitors.is_running(), "left": left(panels)}
    print(json.dumps([held, kernel, sum(psutil.heap_info()) / 2**20]))

digits = load_digits()
x, y = (np.kron(digits.images[:503], np.ones((4, 4))) * 15.9).astype(np.uint8), digits.target[:503]
data = sft.from_arrays(x, y, name="digits")
old, new = (sft.from_arrays(x[part], y[part] % 5, per_class=20) for part in (y < 5, y >= 5))
model, source = (sft.replace_head(sft.backbone("tiny"), some.classes) for some in (data, old))
p = np.random.default_rng(0).dirichlet(np.ones(10) / 3, len(data.train))
"""
PAGES = {  # the panels of each page: where their controls are, and what makes them
    "figures": {
        ".sft-guess": "predict('how many', 0, 40)",
        ".sft-hill": "explore(draw, rate=slider('rate', range(12)), kind=choice('kind', ['Adam', 'SGD']),\n"
        "    name='hill', tap=strip('tap', ['stem', 'layer1', 'head']), peeks=button('peek'))",
        ".sft-shares": "explore(draw, p=distribution('target', ['a', 'b', 'c'], [0.6, 0.3, 0.1]), name='shares')",
        ".sft-text": "explore(draw, p=words('click out', ['not', 'so', 'bad', 'so', 'far']), name='text')",
    },
    "images": {
        ".sft-cells": "label_cells(data.valid, range(6), seconds=3)",
        ".sft-relabel": "relabel(data, p, each=5)",
        ".sft-upload": "upload(model, example=data.valid)",
    },
    "training": {
        ":is(.sft-cockpit, .sft-cockpit-runs)": "cockpit(model, data, epochs=10, rate=0.01)",
        ".sft-tunnel": "wind_tunnel(source, old, new, epochs=5)",
    },
}
SHOWN = """() => {
  const all = (css, read) => [...document.querySelectorAll(css)].map(read);
  const places = ".sft-guess input, .sft-control input:not([type=radio]:not(:checked)), .sft-words button";
  const tile = t => [t.querySelector("img").alt.split(",")[0], Number(t.querySelector("select").value)];
  return {
    places: all(places, i => Number(i.type === "button" ? i.getAttribute("aria-pressed") === "false" : i.value)),
    status: all(":is(.sft-status, .sft-cells-status)", s => s.textContent),
    pictures: all("img.sft-picture:not([hidden])", i => i.alt),
    rows: all(".sft-runs tbody tr", r => [...r.cells].map(c => c.innerText.trim())),
    tiles: Object.fromEntries(all(".sft-tile", tile)),
  };
}"""
PICK = """([css, share]) => {
  const seen = [...document.querySelectorAll(css)].filter(node => node.offsetParent);
  const node = seen[Math.floor(share * seen.length)];
  if (!node) return null;
  node.focus();
  const { x, y, width, height } = (node.closest("label") ?? node).getBoundingClientRect();
  return [x, y, width, height];
}"""
KINDS = {  # actions, how often, and on what
    "click": (8, "button, input[type=radio], input[type=range], input[type=number]"),
    "key": (6, "button, select, input:not([type=file])"),
    "drag": (6, "input[type=range]"),
    "type": (4, "input[type=number]"),
    "photograph": (4, "input[type=file]"),
    "run cell": (0.8, None),
    "run all": (0.3, None),
    "interrupt": (0.3, None),
    "reload": (0.15, None),
}
KEYS = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "Space", "Enter", "1", "2")
TYPED = ("7", "-3", "1e9", "12.5", "e", "", "33")


class Hands:
    """Random actions on the panels of a page; `counts` says how many of which kind."""

    def __init__(self, name, files):
        self.rng, self.panels, self.files, self.counts = random.Random(name + SEED), [*PAGES[name]], files, Counter()

    def act(self, books, n, rare=True):
        """Do `n` actions on each panel, each in one of the tabs; `rare`: cells are run and pages loaded as well."""
        kinds = {kind: often for kind, (often, css) in KINDS.items() if css or rare}
        for number in range(n * len(self.panels)):
            book, panel = self.rng.choice(books), number % len(self.panels)
            kind = self.rng.choices([*kinds], [*kinds.values()])[0]
            while not self.do(kind, book, panel):  # no control of that kind; none at all if its cell was interrupted
                kind = self.rng.choice([kind for kind in kinds if KINDS[kind][1] or kind == "run cell"])
            self.counts[kind] += 1

    def do(self, kind, book, panel):
        """Do one action; return whether it could be done."""
        rng, page = self.rng, book.page
        if css := KINDS[kind][1]:
            box = page.evaluate(PICK, [f"{self.panels[panel]} :is({css})", rng.random()])
            if not box:
                return False
            at = [(box[0] + rng.random() * box[2], box[1] + rng.random() * box[3]) for _ in range(3)]
        if kind == "click":
            page.mouse.click(*at[0])
        elif kind == "drag":
            drag(page, at, steps=4)
        elif kind == "key":
            for key in rng.choices(KEYS, k=rng.randint(1, 4)):
                page.keyboard.press(key)
        elif kind == "type":
            page.keyboard.press("Control+a")
            page.keyboard.type(rng.choice(TYPED))
            page.keyboard.press(rng.choice(("Enter", "Tab")))
        elif kind == "photograph":
            page.locator(f"{self.panels[panel]} {css}").set_input_files(rng.choice(self.files))
        elif kind == "run all":  # the next actions meet cells that run
            page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        elif kind == "run cell":
            book.run_cell(1 + panel)
        else:
            agreed([book])
            getattr(book, kind)()
        return True


def agreed(books):
    """Wait until all tabs show what the kernel holds; return how the kernel is, and its memory in use, in MB."""
    for _ in range(30):
        held, kernel, memory = json.loads(books[0].text(len(books[0].sources()) - 1))
        shown = [book.page.evaluate(SHOWN) for book in books]
        for show in shown:  # of two groups of tiles one is shown
            show["tiles"] = held["tiles"] | show["tiles"]
        if all(show == held for show in shown):
            return kernel, memory
        books[0].page.wait_for_timeout(300)
    assert [(key, held[key], show[key]) for show in shown for key in held if show[key] != held[key]] == []


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    root = tmp_path_factory.mktemp("clicks")
    picture(shape=(400, 300)).save(root / "photo.png")
    picture(shape=(16, 16)).convert("L").save(root / "grey.png")
    (root / "letter.jpg").write_text("no picture")
    for name, panels in PAGES.items():
        cells = [f"panel{i} = {code}" for i, code in enumerate(panels.values())]
        last = f"hold({', '.join(f'panel{i}' for i in range(len(panels)))})"
        browser.write_notebook(root / f"{name}.ipynb", [START, *cells, last])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONMALLOC", "malloc")  # whose count then holds Python's objects, too
        with browser.lab(root, tmp_path_factory.mktemp("jupyter")) as opened:
            opened.files = [root / file for file in ("photo.png", "grey.png", "letter.jpg")]
            yield opened


@pytest.mark.parametrize("name", PAGES)
def test_whatever_hands_do_page_and_kernel_agree(lab, name, record_property):
    book, hands = lab(f"{name}.ipynb"), Hands(name, lab.files)
    book.run_all()
    sources, (_, before) = book.sources(), agreed([book])
    restarts = CLICKS // 100 or int(name == "figures")
    for number in range(1 + restarts):
        if number:
            book.restart()
            hands.act([book], 1, rare=False)  # on controls whose kernel is gone
            book.run_all()
        hands.act([book], CLICKS // 4 // (1 + restarts))
        agreed([book])
    book.save()
    two = [book, lab(f"{name}.ipynb")]
    hands.act(two, CLICKS // 4, rare=False)
    agreed(two)
    two[1].page.close()
    half, middle = agreed([book])
    hands.act([book], CLICKS // 2)
    end, after = agreed([book])
    counts = ", ".join(f"{kind} {count}" for kind, count in hands.counts.most_common())
    megabytes = f"{before:.0f}, {middle:.0f}, {after:.0f} MB"
    record_property(name, f"{counts}, restart {restarts}; {megabytes} at the start, half and end; {half} {end}")
    assert end == half, "a kernel died, or a thread is left"
    assert not end["training"] and not end["left"]
    assert after < middle + GROWTH
    assert book.sources() == sources, "keys were taken for the notebook's"
    assert book.errors() == [] and book.complaints + two[1].complaints == []
    book.close()
