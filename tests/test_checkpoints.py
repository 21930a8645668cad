"""A killed run goes on as if it had not been killed, and what a checkpoint knows of its run lets no other one go on."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import same
from torch import nn
from torch.nn import functional as F

import sftlab as sft
from sftlab.core import monitors, records
from sftlab.core.records import Epoch, Step
from sftlab.data.identity import identity

FAST = {"batch_size": 16, "verbose": False}


class Killed(Exception):
    pass


@pytest.mark.parametrize("kill_at", [1, 4, 5, 9, 13])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_killed_at_any_step_goes_on_to_the_same_weights(blobs, tmp_path, monkeypatch, kill_at, optimizer):
    monkeypatch.setattr(monitors, "CHECKPOINT_SECONDS", 0.0)

    def new():
        return sft.replace_head(sft.backbone("tiny", drop_rate=0.3), blobs.classes)

    settings = {"optimizer": optimizer, "schedule": sft.warmup_cosine(), "seed": 7, "batch_size": 16}
    whole, file = new(), tmp_path / "run.pt"
    reference = sft.fit(whole, blobs, sft.last_k(whole, 1, lr=1e-2), epochs=3, verbose=False, **settings)

    broken = new()
    with contextlib.suppress(Killed):
        for record in sft.train(broken, blobs, sft.last_k(broken, 1, lr=1e-2), 3, checkpoint=file, **settings):
            if isinstance(record, Step) and record.step == kill_at + 1:
                raise Killed
    resumed = new()  # another process would begin like this
    history = sft.fit(
        resumed, blobs, sft.last_k(resumed, 1, lr=1e-2), epochs=3, checkpoint=file, verbose=False, **settings
    )
    assert same(whole, resumed)
    assert [s.loss for s in history.steps] == [s.loss for s in reference.steps]
    assert [(e.train_loss, e.valid_loss) for e in history.epochs[1:]] == [
        (e.train_loss, e.valid_loss) for e in reference.epochs[1:]
    ]


def test_unfreezing_goes_on_after_a_kill_when_both_cells_run_again(blobs, tmp_path, monkeypatch):
    """A probe, then all stages: other groups of the optimizer, and so a checkpoint of its own."""
    monkeypatch.setattr(monitors, "CHECKPOINT_SECONDS", 0.0)

    def cells(folder, kill_at=None):
        model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
        sft.fit(model, blobs, sft.linear_probe(model, lr=1e-2), epochs=2, checkpoint=folder and folder / "1.pt", **FAST)
        file, profile = folder and folder / "2.pt", sft.layer_decay(model, lr=1e-2)
        for record in sft.train(model, blobs, profile, 2, checkpoint=file, batch_size=16):
            if isinstance(record, Step) and record.step == kill_at:
                break
        return model

    whole, _ = cells(None), cells(tmp_path, kill_at=7)
    assert same(cells(tmp_path), whole)


def test_early_stop_counts_epochs_from_before_the_kill(blobs, tmp_path):
    def run(checkpoint, kill=None):
        model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
        epochs = []
        for record in sft.train(
            model, blobs, sft.full(model, lr=0.3), 12, patience=2, optimizer="sgd", batch_size=16, checkpoint=checkpoint
        ):
            epochs += [record.epoch] * isinstance(record, Epoch)
            if len(epochs) == kill:
                break
        return epochs

    whole = run(None)
    run(tmp_path / "c.pt", kill=2)
    assert run(tmp_path / "c.pt") == whole


def test_a_run_that_diverged_does_not_become_a_finished_one_when_it_is_called_again(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(monitors, "CHECKPOINT_SECONDS", 0.0)
    ends = [cell(blobs, tmp_path / "c.pt", lr=1e30, optimizer="sgd").stopped for _ in range(2)]
    assert ends == [["diverged"]] * 2


def test_a_damaged_checkpoint_is_named(blobs, tmp_path):
    (tmp_path / "c.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="not a checkpoint"):
        cell(blobs, tmp_path / "c.pt")


# --- whose checkpoint it is ---------------------------------------------------------------------------------------


def cell(data, checkpoint, *, weights=0, head=0, edit=lambda model: None, lr=1e-2, probe=False, **settings):
    """Make a network anew and fit it, as a cell of a notebook does."""
    model = sft.replace_head(sft.backbone("tiny", seed=weights), data.classes, seed=head)
    edit(model)
    profile = (sft.linear_probe if probe else sft.full)(model, lr=lr)
    return sft.fit(model, data, profile, checkpoint=checkpoint, **{"epochs": 2, **FAST, **settings})


def relabelled(data, split):
    targets = data.train.targets.clone()
    targets[getattr(data, split).index[:5]] = 1 - targets[getattr(data, split).index[:5]]
    return sft.data.with_targets(data, targets, data.classes)


def gelu(model):
    model.layer1[2] = nn.GELU()


def statistics(model):
    model.stem[1].running_mean += 0.1


def closing_over(value):
    return lambda z, t: value * sft.cross_entropy(z, t)


def weighted(*weight):
    return {"loss": partial(sft.cross_entropy, weight=torch.tensor(weight))}


OTHERS = {
    "labels": ("train", {}, lambda data: {"data": relabelled(data, "train")}),
    "labels of valid": ("valid", {}, lambda data: {"data": relabelled(data, "valid")}),
    "valid images": ("valid", {}, lambda d: {"data": dataclasses.replace(d, valid=d.valid.subset(range(9)))}),
    "frozen weights": ("start weights", {"probe": True}, lambda data: {"weights": 1}),
    "head start": ("start weights", {"probe": True}, lambda data: {"head": 1}),
    "frozen activation": ("start weights", {"probe": True}, lambda data: {"edit": gelu}),
    "frozen statistics": ("start weights", {"probe": True}, lambda data: {"edit": statistics}),
    "rate": ("profile", {}, lambda data: {"lr": 1e-3}),
    "unfrozen": ("profile", {"probe": True}, lambda data: {"probe": False}),
    "epochs": ("epochs: 2 there, 3 here", {}, lambda data: {"epochs": 3}),
    "smoothing": (
        "loss",
        {"loss": sft.cross_entropy},
        lambda data: {"loss": partial(sft.cross_entropy, smoothing=0.5)},
    ),
    "class weights": ("loss", weighted(1.0, 2.0), lambda data: weighted(1.0, 3.0)),
    "a loss of torch": (
        "loss",
        {"loss": nn.CrossEntropyLoss(torch.tensor([1.0, 2.0]))},
        lambda data: {"loss": nn.CrossEntropyLoss(torch.tensor([2.0, 1.0]))},
    ),
    "what a loss closes over": ("loss", {"loss": closing_over(1.0)}, lambda data: {"loss": closing_over(2.0)}),
    "schedule": ("schedule", {"schedule": sft.warmup_cosine(0.1)}, lambda d: {"schedule": sft.warmup_cosine(0.9)}),
    "augment": ("augment", {"augment": sft.data.shift(1)}, lambda data: {"augment": sft.data.shift(2)}),
    "views": ("views", {"augment": sft.data.flip, "views": 2}, lambda data: {"views": 3}),
    "pull": ("optimizer", {"optimizer": sft.l2_sp(0.1)}, lambda data: {"optimizer": sft.l2_sp(0.2)}),
    "decay": ("weight_decay", {}, lambda data: {"weight_decay": 0.1}),
    "batchnorm": ("batchnorm", {}, lambda data: {"batchnorm": "frozen"}),
    "seed": ("seed", {}, lambda data: {"seed": 1}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_and_the_same_run_is_not(blobs, tmp_path, what):
    says, settings, change = OTHERS[what]
    first = cell(blobs, tmp_path / "c.pt", **settings)
    assert cell(blobs, tmp_path / "c.pt", **settings).steps == first.steps
    changed = {"data": blobs, **settings, **change(blobs)}
    with pytest.raises(ValueError, match=rf"another run \((train: .*, )?{says}"):
        cell(changed.pop("data"), tmp_path / "c.pt", **changed)


def test_what_cannot_be_told_apart_is_refused_before_anything_moves(tiny, blobs, tmp_path):
    lock, before = threading.Lock(), sft.fingerprint(tiny)

    def locked(z, t):
        with lock:
            return sft.cross_entropy(z, t)

    with pytest.raises(ValueError, match="cannot be told"):
        sft.fit(tiny, blobs, sft.full(tiny), checkpoint=tmp_path / "c.pt", loss=locked, **FAST)
    assert sft.fingerprint(tiny) == before and not list(tmp_path.iterdir())
    sft.fit(tiny, blobs, sft.full(tiny), epochs=1, loss=locked, **FAST)


# --- what a function is ----------------------------------------------------------------------------------------------

DEFINITIONS = {
    "code": "def f(z, t): return F.cross_entropy(z, t) * {}",
    "a lambda beside another": "g, f = lambda z: z * 2, lambda z: z * {}",
    "a default": "def f(z, t, k={}): return k",
    "a keyword's default": "def f(z, t, *, k={}): return k",
    "a global": "k = {}\ndef f(z, t): return (lambda: z * k)()",
    "a global tensor": "w = torch.tensor([1.0, {}])\ndef f(z, t): return F.cross_entropy(z, t, weight=w)",
    "a helper": "def helper(z): return z * {}\ndef f(z, t): return helper(z)",
    "a closure": "def make(k): return lambda z, t: z * k\nf = make({})",
    "a closure in a partial": "def make(k): return lambda z, t, s: z * k\nf = partial(make({}), s=1)",
    "a bound method": "class A:\n  def __init__(self): self.k = {}\n  def loss(self): return self.k\nf = A().loss",
    "the code of a class": "class Own:\n  def __call__(self, z, t): return {}\nf = Own()",
    "an attribute of a class": "class Own:\n  k = {}\n  def __call__(self, z, t): return self.k\nf = Own()",
    "a property of a parent": "class A:\n  @property\n  def k(self): return {}\nclass f(A): pass",
    "a module": "class Own(nn.Module):\n  def forward(self, z, t): return z * {}\nf = Own()",
    "a number in a module": "f = nn.CrossEntropyLoss(label_smoothing=1 / {})",
    "names in a set": "names = {{'a', 'b', 'c', str({})}}\ndef f(z, t): return 'a' in names",
    "a library's function": "f = partial(F.cross_entropy, label_smoothing=1 / {})",
    "one that calls itself": "def f(z): return f(z - 1) if z else {}",
}


def defined(source):
    """Return `f` of a source as a notebook defines it."""
    names = {"__name__": "__main__", "F": F, "nn": nn, "torch": torch, "partial": partial}
    exec(source, names)
    return names["f"]


@pytest.mark.parametrize("what", DEFINITIONS)
def test_a_function_counts_by_what_it_does_and_not_by_its_name(what):
    source = DEFINITIONS[what]
    two, again, three = (identity(defined(source.format(k))) for k in (2, 2, 3))
    assert two == again != three


def test_comments_and_places_do_not_count():
    assert identity(defined("def f(z): return z")) == identity(defined("\n\ndef f(z):  # itself\n    return z"))


def test_another_process_finds_the_same():
    """Sets have another order there, and addresses are others."""
    code = "import test_checkpoints; print(*test_checkpoints.identities())"
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(sft.__file__).parents[1])])
    env = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": paths}
    there = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert there.stdout.split() == identities()


def identities():
    functions = [defined(source.format(2)) for source in DEFINITIONS.values()]
    return [identity(value) for value in (*functions, sft.backbone("tiny"), sft.data.shift(1))]


# --- numbers and paths ---------------------------------------------------------------------------------------------

NUMPY = {
    "weight_decay": np.logspace(-4, -1, 4)[2],
    "schedule": lambda t: np.float32(1 + np.cos(np.pi * t)) / 2,
    "epochs": np.arange(3)[2],
    "batch_size": np.array(16),
    "clip_norm": np.float32(1),
    "seed": np.int64(0),
    "patience": np.int8(2),
    "keep_best": np.bool_(False),
    "lr": np.float32(0.01),
}


@pytest.mark.parametrize("name", NUMPY)
def test_numbers_of_numpy_are_numbers(blobs, tmp_path, name):
    value = NUMPY[name]
    plain = (lambda t: float(value(t))) if name == "schedule" else value.item()
    alone, *both = (
        cell(blobs, file, **{name: v})
        for file, v in ((None, plain), (tmp_path / "c.pt", value), (tmp_path / "c.pt", value))
    )
    for history in both:
        assert history.steps == alone.steps, "the same run, resumed as well"
        written = records.read(records.write(history, tmp_path / "h.json"), records.History)
        assert written.steps == history.steps and written.runs[0]["epochs"] == 2


def test_home_is_where_a_path_begins_with_a_tilde(tiny, blobs, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    history = sft.fit(tiny, blobs, sft.full(tiny), epochs=1, checkpoint="~/c.pt", **FAST)
    records.write(history, "~/h.json")
    sft.save(tiny, "~/m.safetensors")
    sft.export(tiny, "~/w.safetensors")
    assert same(sft.load_model("~/m.safetensors"), tiny) and records.read("~/h.json").steps == history.steps
    assert {p.name for p in tmp_path.iterdir()} >= {"c.pt", "h.json", "m.safetensors", "m.card.md", "w.safetensors"}
    assert not list((tmp_path / "elsewhere").iterdir())
