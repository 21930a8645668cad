"""Who may know whom (the rooms), and what `import sftlab` brings along."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sftlab

PACKAGE = Path(sftlab.__file__).parent

# What each room may import. A room that is missing here needs a place in the picture, not an exception.
CORE = {
    "remote": set(),
    "data": {"remote"},
    "backbones": {"remote"},
    "surgery": set(),
    "losses": set(),
    "schedules": set(),
    "records": set(),
    "monitors": {"records"},
    "checkpoints": {"monitors", "records"},
    "profiles": {"surgery"},
    "summary": {"surgery"},
    "adapters": {"surgery"},
    "memory": set(),
    "encoders": {"data"},
    "settings": {"data", "encoders", "losses", "schedules", "surgery"},
    "store": {"data"},
    "anchors": {"settings"},
    "bytecode": set(),
    "cache": {"bytecode", "data", "encoders", "memory", "store", "surgery"},
    "prices": {"data", "memory", "surgery"},
    "decisions": {"records"},
    "grids": {"decisions", "records"},
    "labels": {"data", "records"},
    "evaluation": {"cache", "data", "losses", "memory", "records", "surgery"},
    "loop": {"data", "losses", "monitors", "profiles", "records", "schedules", "surgery"},
    "sources": {"cache", "data", "encoders", "loop", "settings"},
    "training": {
        "checkpoints",
        "data",
        "loop",
        "losses",
        "memory",
        "monitors",
        "profiles",
        "records",
        "settings",
        "sources",
        "surgery",
    },
    "optimizers": set(),
    "heads": {"cache", "data", "losses", "optimizers", "records", "schedules", "surgery"},
    "lr_finder": {"data", "monitors", "profiles", "records", "training"},
    "doubts": {"data", "evaluation", "profiles", "surgery", "training"},
    "cards": {"backbones", "data", "records", "surgery"},
    "cardpage": set(),
    "refusing": {"cache", "data", "losses", "surgery"},
    "saving": {"backbones", "cardpage", "cards", "data", "records", "refusing", "surgery"},
    "answering": {"cards", "refusing", "surgery"},
    "graphs": {"answering", "cards", "refusing", "surgery"},
    "exporting": {"answering", "backbones", "cardpage", "cards", "data", "graphs", "refusing", "saving", "surgery"},
    "predicting": {"answering", "data", "graphs", "refusing", "saving"},
    "rules": set(),
    "parameters": {"backbones", "rules"},
}
EVERYTHING = {*CORE, "style", "plot"}
OUTER = {
    "pictures": set(),
    "style": {"pictures"},
    "plot": {"answering", "decisions", "evaluation", "grids", "labels", "records", "schedules", "style", "summary"},
    "explain": EVERYTHING,
    "widgets": EVERYTHING | {"explain"},
    "answersheet": {"answering", "predicting"},
    "extras": set(),
    "defaults": set(),
    "lab": {"defaults"},
    "publishing": set(),
    "notebooks": {"parameters", "publishing"},
    "building": {"extras", "notebooks", "publishing"},
    "formulas": set(),
    "reports": {"formulas", "notebooks", "publishing"},
    "runs": {"notebooks", "publishing", "records"},
    "engine": set(),
    "values": {"backbones", "data", "parameters", "publishing", "rules"},
    "execution": {"engine", "notebooks", "reports", "runs"},
    "experiments": {"defaults", "execution", "notebooks", "publishing", "records", "runs", "values"},
    "kernels": {"notebooks"},
    "sweeping": {
        "engine",
        "execution",
        "experiments",
        "grids",
        "kernels",
        "notebooks",
        "parameters",
        "plot",
        "publishing",
        "records",
        "reports",
        "runs",
        "style",
        "values",
    },
    "comparing": {"data", "decisions", "evaluation", "grids", "losses", "publishing", "records", "runs"},
    "checks": {"building", "notebooks"},
    "fetching": {"backbones", "data", "notebooks", "remote"},
    "startup": set(),
    "options": {"parameters", "publishing", "rules"},
    "cli": {
        "answersheet",
        "building",
        "checks",
        "comparing",
        "defaults",
        "experiments",
        "exporting",
        "fetching",
        "lab",
        "notebooks",
        "options",
        "startup",
        "sweeping",
    },
}
PICTURE = {**CORE, **OUTER}
HEAVY = {
    "timm", "torchvision", "sklearn", "scipy", "matplotlib", "ipywidgets", "IPython", "papermill", "pandas",
    "nbconvert", "nbclient", "jupytext", "typer", "rich", "requests", "huggingface_hub",
}  # fmt: skip


def rooms():
    """Return {room: its files}."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            found.setdefault(room, []).append(path)
    return found


def imported_rooms(path):
    """Return the rooms that a file imports, at its top or inside a function."""
    found, tree = set(), ast.parse(path.read_text(encoding="utf-8"))
    branches = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    types = [node for node in branches if ast.unparse(node.test) == "TYPE_CHECKING"]
    only_types = {inner for node in types for inner in ast.walk(node)}  # what annotations name is not known
    for node in ast.walk(tree):
        names = []
        if node in only_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relative to itself; write the whole name"
            names = [node.module]
            if node.module == "sftlab":
                names = [f"sftlab.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("sftlab.")}
    return found


@pytest.mark.parametrize("room", sorted(rooms()))
def test_a_room_knows_only_the_rooms_it_may(room):
    assert room in PICTURE, f"{room} has no place in the picture of rooms"
    known = set().union(*map(imported_rooms, rooms()[room])) - {room}
    assert known <= PICTURE[room], f"{room} may not know {', '.join(sorted(known - PICTURE[room]))}"


def test_the_picture_has_one_direction():
    order = list(PICTURE)
    for room, known in PICTURE.items():
        assert all(order.index(other) < order.index(room) for other in known), room
    assert not set().union(*CORE.values()) & set(OUTER), "the core knows nothing that draws or runs notebooks"


def test_only_the_evaluation_reads_the_test_split():
    for room, paths in rooms().items():
        if room in ("data", "evaluation"):
            continue
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                reads = isinstance(node, ast.Attribute) and node.attr == "test"
                assert not reads, f"{path.name}:{node.lineno} reads .test"


def measure(*modules):
    """Import modules in a fresh Python; return seconds, peak MB and everything that was loaded."""
    code = (
        "import json, resource, sys, time\n"
        f"began = time.perf_counter()\nimport {', '.join(modules)}\nseconds = time.perf_counter() - began\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(json.dumps([seconds, peak, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, peak, loaded = json.loads(done.stdout)
    return seconds, peak / (1024 if sys.platform == "linux" else 1024**2), loaded


def test_import_sftlab_is_light():
    pytest.importorskip("resource", reason="only on Linux and macOS can a process ask for its own peak memory")
    runs = [(measure("torch"), measure("sftlab")) for _ in range(3)]
    loaded = set(runs[0][1][2])
    assert not loaded & HEAVY, f"import sftlab loads {', '.join(sorted(loaded & HEAVY))}"
    torch, ours = (min(run[which][0] for run in runs) for which in (0, 1))
    memory = min(run[1][1] for run in runs) - min(run[0][1] for run in runs)
    print(f"import sftlab: {ours - torch:+.2f} s and {memory:+.0f} MB over import torch")
    assert memory <= 50
    # 0.3 s is what it should take, but a busy machine needs room; the list above finds what would be slow
    assert ours - torch <= 1.5


def test_import_sftlab_loads_no_room_that_draws_or_runs_notebooks():
    loaded = set(measure("sftlab")[2]) if sys.platform != "win32" else set()
    assert not loaded & {f"sftlab.{room}" for room in OUTER}
