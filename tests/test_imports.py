"""Which wing may know which, where a number may be read, and what `import sftlab` brings along."""

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sftlab

PACKAGE = Path(sftlab.__file__).parent

# A wing may import those named here and itself: arrows go down only.
WINGS = {
    "data": set(),
    "core": {"data"},
    "networks": {"core", "data"},
    "analysis": {"core", "data", "networks"},
    "deploy": {"core", "data", "networks"},
    "plot": {"analysis", "core"},
    "widgets": {"analysis", "core", "data", "deploy", "networks", "plot"},
    "lessons": {"analysis", "core", "data", "deploy", "networks", "plot", "widgets"},
    "runs": {"analysis", "core", "data", "deploy", "lessons", "networks", "plot", "widgets"},
}
HEAVY = {
    *("timm", "torchvision", "sklearn", "scipy", "matplotlib", "ipywidgets", "IPython", "papermill", "pandas"),
    *("nbconvert", "nbclient", "jupytext", "click", "requests", "huggingface_hub", "joblib", "dask"),
}


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(path):
    """Return the modules that a file imports, at its top or inside a function, by statement or by importlib."""
    tree, names = ast.parse(path.read_text(encoding="utf-8")), set()
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in set(ast.walk(tree)) - for_types:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself; write the whole name"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in FILES else node.module for name in whole}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            (argument, *_) = node.args
            fixed = isinstance(argument, ast.Constant)
            assert fixed or name_of(path) == "sftlab", f"{path}:{node.lineno} imports a name that nobody can read"
            names |= {argument.value} if fixed else set()
    return names


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_knows_only_the_wings_it_may(wing):
    files = [path for name, path in FILES.items() if name.startswith(f"sftlab.{wing}")]
    assert files, f"sftlab/{wing} is empty"
    for path in files:
        names = {name for name in imported(path) if name.split(".")[0] in ("sftlab", "tools", "tests", "benchmarks")}
        names -= {"sftlab"}  # the rules of a notebook's parameters are written with `sft.…`, as a learner writes
        assert all(name.startswith("sftlab.") for name in names), f"{path} reaches out of the package"
        known = {name.split(".")[1] for name in names} - {wing}
        assert known <= WINGS[wing], f"{path} may not know {', '.join(sorted(known - WINGS[wing]))}"


def test_every_file_lies_in_a_wing():
    assert {name.split(".")[1] for name in FILES if "." in name} == set(WINGS)


def test_no_two_files_import_each_other_in_a_circle():
    # the package's own files re-export what lies in them, so they are no part of a circle
    packages = {name for name, path in FILES.items() if path.name == "__init__.py"}
    TopologicalSorter({name: (imported(path) & set(FILES)) - packages for name, path in FILES.items()}).prepare()


def test_only_the_evaluation_reads_the_test_split():
    for name, path in FILES.items():
        if name.startswith("sftlab.data") or name == "sftlab.core.evaluation":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Attribute) and node.attr == "test"), f"{path}:{node.lineno} reads .test"


def test_no_file_starts_the_worker_processes_of_a_data_loader():
    """They hang, and cannot pickle what a notebook defines, where processes are spawned."""
    for path in FILES.values():
        names = {name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in named(node)}
        assert not {"DataLoader", "multiprocessing"} & names, path


def named(node):
    """Return the parts of the names that a statement brings in or that an expression reads."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        words = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        return {part for word in words for part in word.split(".")}
    return {node.attr} if isinstance(node, ast.Attribute) else set()


def child(code):
    """Return what Python prints in a process of its own, from JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_everything_but_figures_panels_and_runs_is_light():
    pytest.importorskip("resource", reason="only on Linux and macOS can a process ask for its own peak memory")
    peak = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    heavy = ("plot", "style", "widgets", "lessons", "load_runs")
    code = (
        f"import json, resource, sys, torch; before = {peak}\n"
        f"import sftlab; [getattr(sftlab, name) for name in sftlab.__all__ if name not in {heavy}]\n"
        f"print(json.dumps([{peak} - before, sorted(sys.modules)]))"
    )
    more, loaded = child(code)
    assert not HEAVY & set(loaded), f"sftlab loads {', '.join(sorted(HEAVY & set(loaded)))}"
    drawing = {f"sftlab.{wing}" for wing in ("plot", "widgets", "lessons")}
    runs = {name for name in loaded if name.startswith("sftlab.runs.")}
    assert not drawing & set(loaded) and runs <= {"sftlab.runs.parameters"}
    assert more / (1024 if sys.platform == "linux" else 1024**2) <= 50, "megabytes beside torch's own"


def test_help_and_import_do_not_wait_for_torch():
    code = (
        "import json, sys; import sftlab; from sftlab.runs.cli import app\n"
        "app(['--help'], standalone_mode=False)\n"
        "print(json.dumps(['torch' in sys.modules, 'fit' in dir(sftlab)]))"
    )
    assert child(code) == [False, True]


def test_tab_offers_names_and_keywords_and_a_wrong_name_is_an_error():
    code = (
        "import json, warnings; from IPython.core.completer import IPCompleter; import sftlab as sft\n"
        "warnings.simplefilter('ignore'); tab = IPCompleter(namespace={'sft': sft})\n"
        "offered = lambda text: [one.text for one in tab.completions(text, len(text))]\n"
        "print(json.dumps([offered(text) for text in ('sft.layer_d', 'sft.plo', 'sft.fit(model, pati')]))"
    )
    names, wings, keywords = child(code)
    assert "layer_decay" in names[0] and wings and any("patience" in word for word in keywords)
    with pytest.raises(AttributeError, match="no attribute 'lin_probe'"):
        sftlab.lin_probe  # noqa: B018
