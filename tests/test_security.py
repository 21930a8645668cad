"""What comes from outside is data: it is never run as code, never leaves its folder, and arrives as it was typed."""

import ast
import io
import json
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import nbformat
import papermill
import pytest
import torch
from test_backbones import Trap
from test_imports import FILES

import sftlab as sft
from sftlab.data.torchvision_sets import unpack
from sftlab.runs import lab, parameters
from sftlab.runs.notebooks import KERNEL

RUNS_CODE = {"pickle.load", "pickle.loads", "joblib.load", "os.system", "os.popen", "yaml.load", "exec"}


def calls():
    """Every call in the package: where it is, what is called, and its keywords."""
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
                yield f"{path.name}:{node.lineno}", ast.unparse(node.func), keywords


def test_no_file_is_read_as_code_and_nothing_goes_through_a_shell():
    found = list(calls())
    assert {name for _, name, _ in found} >= {"torch.load", "subprocess.run", "np.load"}, "these are looked at"
    for place, name, keywords in found:
        assert name not in RUNS_CODE and "shell" not in keywords, place
        assert keywords.get("weights_only") == "True" or name != "torch.load", place
        assert keywords.get("allow_pickle", "False") == "False", place


def test_no_connection_is_opened_by_an_import():
    code = (
        "import json, pkgutil, socket, sys\n"
        "asked = []\n"
        "for name in ('connect', 'connect_ex', 'bind'):\n"
        "    setattr(socket.socket, name, lambda *words: asked.append(words[1:]))\n"
        "import sftlab\n"
        "names = [module.name for module in pkgutil.walk_packages(sftlab.__path__, 'sftlab.')]\n"
        "for name in names:\n"
        "    __import__(name)\n"
        "print(json.dumps([len(names), asked]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, asked = json.loads(done.stdout.splitlines()[-1])
    assert modules > 60 and asked == []


@pytest.mark.parametrize("name", ["run.pt", "model.safetensors"])
def test_a_trap_in_the_place_of_a_checkpoint_or_a_model_is_refused(tiny, blobs, tmp_path, name):
    path, sprung = tmp_path / name, tmp_path / "sprung"
    torch.save({"model": Trap(sprung)}, path)
    with pytest.raises(ValueError, match=name):
        if name == "run.pt":
            sft.fit(tiny, blobs, sft.full(tiny), 1, checkpoint=path, verbose=False)
        sft.load_model(path)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/sftlab-outside.txt", "link"])
def test_an_archive_cannot_write_beside_its_folder(tmp_path, name):
    archive = tmp_path / "sets" / "set.tar.gz"
    archive.parent.mkdir()
    entry, content = tarfile.TarInfo(name), b"outside"
    entry.size = len(content)
    if name == "link":
        entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, str(tmp_path), 0
    with tarfile.open(archive, "w:gz") as packed:
        packed.addfile(entry, io.BytesIO(content))
    with suppress(ValueError):  # refused, or unpacked within the folder
        unpack(archive)
    assert {path.name for path in tmp_path.iterdir()} == {"sets"} and not Path("/tmp/sftlab-outside.txt").exists()
    assert not (archive.parent / "link").is_symlink()


@pytest.mark.parametrize(
    "text", ["__import__('os').abort()", "1\nimport os", 'a"; import os; "', "$(touch x)", "`x`", "{{ x }}"]
)
def test_a_parameter_that_looks_like_code_arrives_as_text(tmp_path, text):
    book = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    book.cells = [nbformat.v4.new_code_cell('NOTE: str = "none"', metadata={"tags": ["parameters"]})]
    values = parameters.checked(parameters.read_parameters(book), {"NOTE": text})
    nbformat.write(book, tmp_path / "book.ipynb")
    book = papermill.iorw.load_notebook_node(str(tmp_path / "book.ipynb"))
    injected = papermill.parameterize.parameterize_notebook(book, values).cells[1].source
    (line,) = ast.parse(injected).body
    assert isinstance(line, ast.Assign) and ast.literal_eval(line.value) == text


def test_the_lab_listens_at_home_only_and_keeps_its_token():
    said = " ".join(lab.WORDS) + "".join(path.read_text() for path in lab.CONFIG.rglob("*") if path.is_file())
    assert not {"ip", "token", "password", "allow_origin"} & set(said.replace('"', " ").replace("=", " ").split())
