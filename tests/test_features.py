"""Frozen work is done once, on disk: addressed by content, verified by asking the live network, believed if intact."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import sftlab as sft
from sftlab.core import features as kept
from sftlab.core.features import features
from sftlab.data import storage
from sftlab.data.storage import keep_memory


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    return tmp_path / "features"


def entries():
    """Return the folders of the store's entries."""
    return sorted(index.parent for index in storage.features_dir().rglob("index.json"))


def computed(stages, split, batch=32):
    """Return what the network itself gives."""
    with torch.no_grad():
        return torch.cat([stages.eval()(x) for x, _ in split.batches(batch)])


def served(made):
    """Return what the store gives."""
    return made.inputs(np.arange(len(made)))


def test_features_equal_running_the_prefix_to_the_bit_in_any_batch_size_and_are_looked_up_ever_after(tiny, blobs):
    made = features(tiny[:-1], blobs.train)
    assert made.encoded and all(torch.equal(served(made), computed(tiny[:-1], blobs.train, n)) for n in (7, 32))
    again = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    assert not features(again[:-1], blobs.train).encoded
    x, _ = features(tiny[:2], blobs.train).take(np.arange(4))
    assert x.is_contiguous(memory_format=torch.channels_last), "a middle cut gives back the layout of the loop"


def test_anything_that_changes_the_values_changes_the_address(tiny, blobs):
    def another(prefix, split=blobs.train):
        before = len(entries())
        features(prefix, split)
        return len(entries()) == before + 1

    assert another(tiny[:-1])
    assert another(tiny[:-2])
    assert another(sft.backbone("tiny", seed=1)[:-1])
    assert another(tiny[:-1], replace(blobs.train, size=16))
    tiny.stem[1].running_var += 1
    assert another(tiny[:-1])
    assert not another(tiny[:-1])


def test_an_image_is_encoded_once_whatever_split_or_order_it_comes_in(tiny, blobs):
    encoded = []
    whole = features(tiny[:-1], blobs.train, progress=lambda done, total: encoded.append(total))
    other = sft.data.Split("train", blobs.train.images, blobs.train.targets, np.arange(119, -1, -1), blobs.classes, 8,
                           blobs.train.image_hashes)  # fmt: skip
    assert kept.missing(tiny[:-1], other) == 120 - 72
    both = features(tiny[:-1], other, progress=lambda done, total: encoded.append(total))
    assert set(encoded) == {72, 48} and both.encoded
    assert torch.equal(served(both), computed(tiny[:-1], other))
    assert torch.equal(whole.take(np.arange(5))[0], both.take(119 - blobs.train.index[:5])[0])


def test_a_deeper_cut_goes_on_from_a_shallower_one_on_disk_to_the_bit(tiny, blobs):
    wanted = served(features(tiny[:-1], blobs.train))
    storage.clear_features()
    features(tiny[:2], blobs.train)
    features(tiny[:3], blobs.train)
    seen = []
    tiny.input.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    made = features(tiny[:-1], blobs.train)
    assert sum(seen) < len(blobs.train) // 2, "more images were looked at than the check needs"
    assert torch.equal(served(made), wanted) and made.start == 3 and made.encoded


def test_a_shallower_cut_that_lacks_an_image_is_not_gone_on_from(tiny, blobs):
    features(tiny[:2], blobs.train.subset(range(71)))
    made = features(tiny[:-1], blobs.train)
    assert made.start == 0 and torch.equal(served(made), computed(tiny[:-1], blobs.train))


def test_a_run_says_what_it_found_on_disk(blobs, capsys):
    for strategy in (lambda model: sft.last_k(model, 1), sft.linear_probe):
        model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
        sft.fit(model, blobs, strategy(model), epochs=1)
    said = capsys.readouterr().out
    assert re.search(r"frozen input … pool: 90 images encoded once in .* s, the work up to layer1 found on disk", said)


def test_copies_of_one_image_share_a_row(tiny, blobs):
    made = features(tiny[:-1], blobs.train.subset([0, 1, 0, 0]))
    assert len(made.arrays[0]) == 2 and torch.equal(made.take(np.array([0]))[0], made.take(np.array([3]))[0])


def test_the_mode_flags_of_the_prefix_do_not_matter(tiny, blobs):
    one = served(features(tiny.train()[:-1], blobs.train))
    storage.clear_features()
    assert torch.equal(one, served(features(tiny.eval()[:-1], blobs.train)))


def test_features_are_ordinary_tensors_and_changing_one_in_memory_never_changes_the_store(tiny, blobs):
    made = features(tiny[:-1], blobs.train)
    x, y = made.take(np.arange(8))
    assert not x.is_inference()
    sft.cross_entropy(tiny.head(x), y).backward()
    assert tiny.head.weight.grad.any(), "autograd accepts them"
    made.arrays[0][:] = 0
    assert features(tiny[:-1], blobs.train).take(np.arange(3))[0].any()


def test_a_tuple_between_stages_is_kept_as_a_tuple(blobs):
    class Pair(nn.Module):
        def forward(self, x):
            return x.float().mean((2, 3)), x.float().amax((1, 2, 3))

    model = nn.Sequential(Pair())
    mean, top = features(model, blobs.train).take(np.arange(5))[0]
    assert mean.shape == (5, 3) and top.shape == (5,)


def test_an_interrupted_encoding_keeps_its_finished_batches_and_goes_on_from_there(tiny, blobs):
    def fail(done, total):
        if done > 31:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features(tiny[:-1], blobs.train, progress=fail)
    assert kept.missing(tiny[:-1], blobs.train) == 72 - 32
    assert torch.equal(served(features(tiny[:-1], blobs.train)), computed(tiny[:-1], blobs.train))


def test_what_a_killed_process_wrote_beyond_its_index_is_never_read(tiny, blobs):
    features(tiny[:-1], blobs.train.subset(range(10)))
    (folder,) = entries()
    with (folder / "0.bin").open("ab") as file:
        file.write(b"half a batch")
    (folder / "index.json.1.partial").write_text("{half an ind")
    assert torch.equal(served(features(tiny[:-1], blobs.train)), computed(tiny[:-1], blobs.train))


def _ask(folder, counter, barrier):
    os.environ["SFTLAB_DATA"] = folder
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    data = sft.from_arrays(rng.integers(0, 256, (64, 3, 8, 8), dtype=np.uint8), np.arange(64) % 2)
    model = sft.backbone("tiny")

    def count(done, total):
        with counter.get_lock():
            counter.value += 1
        time.sleep(0.2)

    barrier.wait()
    features(model[:-1], data.train, progress=count)


def test_two_processes_that_ask_at_once_compute_it_once(store):
    context = multiprocessing.get_context("spawn")
    counter, barrier = context.Value("i", 0), context.Barrier(2)
    processes = [context.Process(target=_ask, args=(str(store.parent), counter, barrier)) for _ in range(2)]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
        assert p.exitcode == 0
    assert counter.value == 2  # 38 images are two batches: one process encoded, the other waited


def test_the_least_recently_used_entries_go_first_when_the_limit_is_reached(blobs, monkeypatch):
    models = [sft.backbone("tiny", seed=s) for s in range(3)]
    features(models[0][:-1], blobs.train)
    (first,) = entries()
    features(models[1][:-1], blobs.train)
    (second,) = set(entries()) - {first}
    one = sum(file.stat().st_size for file in first.iterdir())
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    features(models[0][:-1], blobs.train)  # used again: now the second is the older one
    monkeypatch.setenv("SFTLAB_CACHE_GB", str(2.5 * one / 1e9))
    features(models[2][:-1], blobs.train)
    assert first.exists() and not second.exists()


def test_clear_empties_the_store_and_a_bad_limit_is_a_sentence(tiny, blobs, monkeypatch):
    features(tiny[:-1], blobs.train)
    assert storage.clear_features() > 0 and not entries()
    monkeypatch.setenv("SFTLAB_CACHE_GB", "lots")
    with pytest.raises(ValueError, match="a number of gigabytes"):
        storage.features_limit()


# --- the store asks the network ---------------------------------------------------------------------------------


def network(**how):
    """Return a frozen transformer; `how` changes what it computes, and neither its weights nor its repr."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(64, dim_feedforward=64, batch_first=True, **how)
    stages = {"input": sft.Input((0.5,) * 3, (0.5,) * 3), "body": nn.Sequential(nn.Flatten(2), layer, nn.Flatten())}
    model = nn.Sequential(OrderedDict(stages, head=nn.Linear(192, 2))).eval()
    sft.apply(model, {"body": 0.0, "head": 1e-3})
    return model


@pytest.mark.parametrize("how", [{"nhead": 8}, {"nhead": 2, "activation": "gelu"}, {"nhead": 2, "norm_first": True}])
def test_a_setting_that_no_name_shows_is_asked_for(blobs, capsys, how):
    features(network(nhead=2)[:-1], blobs.test)
    other = network(**how)
    made = features(other[:-1], blobs.test)
    torch.testing.assert_close(served(made), computed(other[:-1], blobs.test))
    assert "others go beside them" in capsys.readouterr().out and len(entries()) == 2
    assert not features(network(nhead=2)[:-1], blobs.test).encoded, "the first network's entry is still its own"
    assert not features(other[:-1], blobs.test).encoded


def test_an_ablated_stage_changes_what_evaluate_says_and_the_store_survives_it(tiny, blobs):
    sft.fit(tiny, blobs, sft.linear_probe(tiny, lr=1e-2), epochs=5, verbose=False)
    before = sft.evaluate(tiny, blobs.test)
    hook = tiny.layer1.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    ablated = sft.evaluate(tiny, blobs.test)
    np.testing.assert_allclose(ablated.probabilities, computed(tiny, blobs.test).softmax(1), atol=1e-5)
    hook.remove()
    assert sft.evaluate(tiny, blobs.test).probabilities == before.probabilities
    assert not features(tiny[:-1], blobs.test).encoded


def test_new_images_are_never_put_beside_those_of_another_network(tiny, blobs):
    features(tiny[:-1], blobs.train)
    tiny.layer1.register_forward_hook(lambda module, args, out: 2 * out)
    made = features(tiny[:-1], blobs.valid)  # no image of this split is there to be asked about
    assert torch.equal(served(made), computed(tiny[:-1], blobs.valid)) and len(entries()) == 2


def test_features_under_autocast_are_kept_as_they_are_and_served_to_nobody_else(tiny, blobs):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = [features(tiny[:3], blobs.test) for _ in range(2)]
    x = half[1].inputs(np.arange(5))
    assert x.dtype == torch.bfloat16 and not half[1].encoded
    whole = features(tiny[:3], blobs.test)
    assert torch.equal(served(whole), computed(tiny[:3], blobs.test))
    assert len(entries()) == 2 and not any("-" in folder.name for folder in entries()), "each at an address of its own"


def test_what_depends_on_the_batch_is_no_constant_and_is_not_kept(blobs):
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.Flatten())
    stages = {"input": sft.Input((0.5,) * 3, (0.5,) * 3), "body": body, "head": nn.Linear(288, 2)}
    model = nn.Sequential(OrderedDict(stages))
    with pytest.raises(kept.NotKept, match="no constant"):
        features(model[:-1], blobs.train)
    sft.fit(model, blobs, {"body": 0.0, "head": 1e-2}, epochs=1)
    assert not entries()


# --- bytes are believed if they are those that were written ------------------------------------------------------


def flip(rows):
    content = bytearray(rows.read_bytes())
    content[len(content) // 3] ^= 1
    rows.write_bytes(content)


DAMAGE = {
    "cut short": lambda rows: os.truncate(rows, rows.stat().st_size // 2),
    "gone": lambda rows: rows.unlink(),
    "a flipped bit": flip,
    "zeros": lambda rows: rows.write_bytes(bytes(rows.stat().st_size)),
    "no index": lambda rows: rows.with_name("index.json").write_text('{"images": {"a'),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_no_entry_and_heals(tiny, blobs, kind):
    features(tiny[:-1], blobs.train.subset(range(40)))
    (folder,) = entries()
    DAMAGE[kind](folder / "0.bin")
    made = features(tiny[:-1], blobs.train)
    assert torch.equal(served(made), computed(tiny[:-1], blobs.train))
    again = features(tiny[:-1], blobs.train)
    assert not again.encoded and torch.equal(served(again), served(made))


# --- a store that can only be read; views ---------------------------------------------------------------------------


@pytest.fixture
def read_only(store, monkeypatch):
    """Return a function after which nothing can be written into the store, whoever runs the tests."""

    def close():
        files = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
        monkeypatch.setattr(storage.os, "access", lambda path, mode: not str(path).startswith(str(store)))
        storage.process_folder.cache_clear()
        return files

    yield close
    storage.process_folder.cache_clear()


def test_a_store_that_can_only_be_read_is_used_as_it_is(tiny, blobs, store, read_only):
    features(tiny[:-1], blobs.train)
    before = read_only()
    assert not features(tiny[:-1], blobs.train).encoded
    encoded, both = [], blobs.train.of_rows(range(120))
    made = features(tiny[:-1], both, progress=lambda done, total: encoded.append(done))
    assert max(encoded) == 120, "what lies there is copied, the rest computed"
    assert torch.equal(served(made), computed(tiny[:-1], both))
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_kept_views_live_as_long_as_the_process(tiny, blobs):
    script = (
        "import numpy as np, sftlab as sft\nfrom sftlab.core.features import features\n"
        "from sftlab.data.storage import features_dir\n"
        "from sftlab.data import View, turn\n"
        "x = np.random.default_rng(0).integers(0, 256, (64, 3, 8, 8), dtype=np.uint8)\n"
        "data = sft.from_arrays(x, np.arange(64) % 2)\n"
        "stages = sft.backbone('tiny')[:-1]\n"
        "made = [features(stages, View(data.train, turn, 0, 0)) for _ in range(2)]\n"
        "print(not made[0].encoded, not made[1].encoded, len([*features_dir().rglob('index.json')]))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True", "1"] and not entries()


# --- what a cut costs is known before it is paid


def test_the_megabytes_of_a_cut_are_those_of_the_store_and_a_deeper_one_never_costs_less_time(tiny, blobs):
    before, modes = sft.fingerprint(tiny), [m.training for m in tiny.modules()]
    cuts = sft.feature_cost(tiny, blobs)
    assert (sft.fingerprint(tiny), [m.training for m in tiny.modules()], entries()) == (before, modes, [])
    assert list(cuts.index) == [n for n, _ in tiny.named_children()][1:-1]
    for n, cut in enumerate(cuts.itertuples(), 2):
        made = [features(tiny[:n], split) for split in (blobs.train, blobs.valid)]
        assert cut.megabytes == pytest.approx(sum(f.bytes for f in made) / 1e6)
    assert cuts["seconds"].is_monotonic_increasing and cuts["seconds"].iloc[0] > 0


def test_features_without_room_are_computed_in_every_epoch(blobs, monkeypatch, tmp_path, capsys):
    kept = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    sft.fit(kept, blobs, sft.linear_probe(kept), 2, verbose=False)
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path / "small"))
    monkeypatch.setenv("SFTLAB_CACHE_GB", "0.000001")
    full = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    sft.fit(full, blobs, sft.linear_probe(full), 2)
    assert "runs in every epoch" in capsys.readouterr().out
    assert sft.fingerprint(full) == sft.fingerprint(kept)
    assert not list((tmp_path / "small").rglob("*.bin"))


def test_the_size_is_said_before_a_long_encoding(blobs, tiny, monkeypatch, capsys):
    now = iter(range(0, 10**6, 100))
    monkeypatch.setattr("sftlab.core.features.time.perf_counter", lambda: float(next(now)))
    sft.fit(tiny, blobs, sft.linear_probe(tiny), 1)
    assert "MB …" in capsys.readouterr().out


def test_freed_memory_is_kept_only_as_long_as_somebody_needs_it():
    with keep_memory(), keep_memory():
        assert storage._users == 2
    assert storage._users == 0
