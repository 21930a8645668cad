"""The same seed on the same machine gives the same bits: in a new process, from kept features, however it is run."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from sftlab.runs.notebooks import KERNEL

pytestmark = pytest.mark.slow  # seven processes
LESSON = """
import json
import torch
import sftlab as sft

torch.set_num_threads(1)
data = sft.load("digits", size=16, per_class=20, seed=SEED)
model = sft.replace_head(sft.backbone("tiny", drop_rate=0.2, seed=SEED), data.classes, seed=SEED)
history = sft.fit(model, data, sft.linear_probe(model, lr=1e-2), 2, seed=SEED, verbose=False)
history += sft.fit(model, data, sft.last_k(model, 1, lr=1e-3), 2, seed=SEED, verbose=False)
result = sft.evaluate(model, data.test)
print(json.dumps([sft.fingerprint(model), result.probabilities[0], history.epochs[-1].valid_loss]))
"""


def book(seed):
    made = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    made.cells = [
        nbformat.v4.new_code_cell(f"SEED: int = {seed}", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(LESSON),
    ]
    return made


def said(path):
    """What the last cell of an executed notebook printed."""
    return json.loads(nbformat.read(path, as_version=4).cells[-1].outputs[-1]["text"])


def typed(*words, data):
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=os.environ | {"SFTLAB_DATA": str(data)}
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of the features that the first run kept, and what it found."""
    data = tmp_path_factory.mktemp("kept")
    return data, json.loads(typed("-c", f"SEED = 3\n{LESSON}", data=data))


@pytest.mark.parametrize("kept", [True, False])
def test_a_new_process_finds_the_same_bits_with_and_without_kept_features(first, tmp_path, kept):
    data, found = first
    assert json.loads(typed("-c", f"SEED = 3\n{LESSON}", data=data if kept else tmp_path)) == found
    assert any(data.rglob("*.npy")) or any(path.is_file() for path in data.rglob("*")), "features were kept"


def test_papermill_finds_the_same_bits(first, tmp_path):
    nbformat.write(book(seed=0), tmp_path / "lesson.ipynb")
    typed(
        "-m", "papermill", str(tmp_path / "lesson.ipynb"), str(tmp_path / "out.ipynb"), "-p", "SEED", "3", data=tmp_path
    )
    assert said(tmp_path / "out.ipynb") == first[1]


def test_nbval_finds_the_same_bits_and_others_for_another_seed(first, tmp_path):
    for seed in (3, 4):
        made = book(seed)
        made.cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text=json.dumps(first[1]) + "\n")]
        made.cells[-1].execution_count = 2
        nbformat.write(made, tmp_path / f"seed_{seed}.ipynb")
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", str(tmp_path)]
    with pytest.raises(AssertionError, match=r"seed_4\.ipynb::Cell 1[^!]*1 failed, 3 passed"):
        typed(*words, data=tmp_path)
