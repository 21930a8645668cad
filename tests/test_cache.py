"""Frozen work is done once, on disk, and addressed by content."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import sftlab as sft
from sftlab.core import cache


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    return tmp_path / "features"


def test_features_equal_running_the_prefix_to_the_bit_in_any_batch_size(tiny, blobs, store):
    made = cache.features(tiny[:-1], blobs.train)
    with torch.no_grad():
        for batch in (7, 32):
            wanted = torch.cat([tiny[:-1].eval()(x) for x, _ in blobs.train.batches(batch)])
            assert torch.equal(made.take(np.arange(len(made)))[0], wanted)


def test_a_middle_cut_gives_back_the_layout_of_the_loop(tiny, blobs, store):
    x, _ = cache.features(tiny[:2], blobs.train).take(np.arange(4))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_the_second_time_is_a_look_up_even_in_a_new_object(tiny, blobs, store):
    assert not cache.features(tiny[:-1], blobs.train).reused
    again = sft.replace_head(sft.backbone("tiny"), blobs.classes)
    assert cache.features(again[:-1], blobs.train).reused


def test_anything_that_changes_the_values_changes_the_address(tiny, store):
    def address(prefix, size=8):
        return cache.key(prefix, size, torch.device("cpu"))

    addresses = {
        address(tiny[:-1]),
        address(tiny[:-2]),
        address(sft.backbone("tiny", seed=1)[:-1]),
        address(tiny[:-1], 16),
    }
    tiny.stem[1].running_var += 1
    addresses.add(address(tiny[:-1]))
    assert len(addresses) == 5


CELL = """
from torch import nn

OFFSET = {offset}

def scaled(x):
    return {factor} * x + OFFSET

class Own(nn.Module):
    def forward(self, x, *, then=scaled):
        if x.ndim in {{4, 3}} and "a" in {{"a", "b", "c"}}:
            return scaled(x.float()){more}
"""


def written(factor=2, more="", above="", offset=0):
    """Return a network that begins with a module as a notebook's cell defines it."""
    cell = {"__name__": "__main__"}
    exec(compile(above + CELL.format(factor=factor, more=more, offset=offset), f"cell {len(above)}", "exec"), cell)
    return nn.Sequential(OrderedDict(own=cell["Own"](), flat=nn.Flatten()))


def test_a_changed_forward_of_an_own_module_its_helper_or_a_number_they_read_has_another_address():
    kind = torch.device("cpu")
    first = cache.key(written(), 16, kind)
    assert cache.key(written(more=" + 1"), 16, kind) != first
    assert cache.key(written(factor=3), 16, kind) != first
    assert cache.key(written(offset=1), 16, kind) != first
    assert cache.key(written(above="# the same cell, further down\n\n"), 16, kind) == first


def test_the_address_of_an_own_module_is_the_same_in_another_process(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(
        "import torch\nfrom collections import OrderedDict\nfrom sftlab import cache\n"
        f"{CELL.format(factor=2, more='', offset=0)}\n"
        "net = nn.Sequential(OrderedDict(own=Own(), flat=nn.Flatten()))\n"
        "print(cache.key(net, 16, torch.device('cpu')))\n"
    )
    told = {
        subprocess.run(
            [sys.executable, script], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1 and len(told.pop().strip()) == 32


def test_changed_code_is_never_served_the_old_features(blobs, store):
    old = cache.features(written(), blobs.train).take(np.arange(3))[0]
    new = cache.features(written(factor=5), blobs.train)
    assert not new.reused and torch.equal(new.take(np.arange(3))[0], 2.5 * old)


def test_an_image_is_encoded_once_whatever_split_or_order_it_comes_in(tiny, blobs, store):
    encoded = []
    whole = cache.features(tiny[:-1], blobs.train, progress=lambda done, total: encoded.append(total))
    other = sft.data.Split("train", blobs.train.images, blobs.train.targets, np.arange(119, -1, -1), blobs.classes, 8,
                           blobs.train.image_hashes)  # fmt: skip
    assert cache.missing(tiny[:-1], other) == 120 - 72
    both = cache.features(tiny[:-1], other, progress=lambda done, total: encoded.append(total))
    assert set(encoded) == {72, 48} and not both.reused
    with torch.no_grad():
        wanted = tiny[:-1].eval()(other.take(np.arange(120))[0])
    assert torch.equal(both.take(np.arange(120))[0], wanted)
    assert torch.equal(whole.take(np.arange(5))[0], both.take(119 - blobs.train.index[:5])[0])


def test_a_deeper_cut_goes_on_from_a_shallower_one_on_disk_to_the_bit(tiny, blobs, store, monkeypatch):
    wanted = cache.features(tiny[:-1], blobs.train).take(np.arange(72))[0]
    cache.clear()
    cache.features(tiny[:2], blobs.train)
    cache.features(tiny[:3], blobs.train)
    monkeypatch.setattr(type(tiny.input), "forward", lambda *_: pytest.fail("the images were looked at again"))
    made = cache.features(tiny[:-1], blobs.train)
    assert torch.equal(made.take(np.arange(72))[0], wanted) and made.start == 3 and not made.reused


def test_a_shallower_cut_that_lacks_an_image_is_not_gone_on_from(tiny, blobs, store):
    cache.features(tiny[:2], blobs.train.subset(range(71)))
    assert cache.features(tiny[:-1], blobs.train).start == 0


def test_a_run_says_what_it_found_on_disk(blobs, store, capsys):
    for strategy in (lambda model: sft.last_k(model, 1), sft.linear_probe):
        model = sft.replace_head(sft.backbone("tiny"), blobs.classes)
        sft.fit(model, blobs, strategy(model), epochs=1)
    assert "frozen input … pool: 90 images encoded once in 0.0 s, the work up to layer1 found on disk" in (
        capsys.readouterr().out
    )


def test_copies_of_one_image_share_a_row(tiny, blobs, store):
    made = cache.features(tiny[:-1], blobs.train.subset([0, 1, 0, 0]))
    assert len(made.arrays[0]) == 2 and torch.equal(made.take(np.array([0]))[0], made.take(np.array([3]))[0])


def test_the_mode_flags_of_the_prefix_do_not_matter(tiny, blobs, store):
    one = cache.features(tiny.train()[:-1], blobs.train).take(np.arange(9))[0]
    cache.clear()
    two = cache.features(tiny.eval()[:-1], blobs.train).take(np.arange(9))[0]
    assert torch.equal(one, two)


def test_changing_a_feature_in_memory_never_changes_the_store(tiny, blobs, store):
    made = cache.features(tiny[:-1], blobs.train)
    made.arrays[0][:] = 0
    assert cache.features(tiny[:-1], blobs.train).take(np.arange(3))[0].any()


def test_features_are_ordinary_tensors_that_autograd_accepts(tiny, blobs, store):
    x, y = cache.features(tiny[:-1], blobs.train).take(np.arange(8))
    assert not x.is_inference()
    sft.cross_entropy(tiny.head(x), y).backward()
    assert tiny.head.weight.grad.any()


def test_a_tuple_between_stages_is_kept_as_a_tuple(blobs, store):
    class Pair(nn.Module):
        def forward(self, x):
            return x.float().mean((2, 3)), x.float().amax((1, 2, 3))

    model = nn.Sequential(Pair())
    mean, top = cache.features(model, blobs.train).take(np.arange(5))[0]
    assert mean.shape == (5, 3) and top.shape == (5,)


def test_an_interrupted_encoding_keeps_its_finished_batches_and_goes_on_from_there(tiny, blobs, store):
    def fail(done, total):
        if done > 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.features(tiny[:-1], blobs.train, progress=fail)
    assert cache.missing(tiny[:-1], blobs.train) == 72 - 40
    made = cache.features(tiny[:-1], blobs.train)
    with torch.no_grad():
        assert torch.equal(made.take(np.arange(72))[0], tiny[:-1].eval()(blobs.train.take(np.arange(72))[0]))


def test_what_a_killed_process_wrote_beyond_its_index_is_never_read(tiny, blobs, store):
    cache.features(tiny[:-1], blobs.train.subset(range(10)))
    folder = cache.cache_dir() / cache.key(tiny[:-1], 8, torch.device("cpu"))
    with (folder / "0.bin").open("ab") as file:
        file.write(b"half a batch")
    (folder / "index.partial").write_text("{half an ind")
    made = cache.features(tiny[:-1], blobs.train)
    with torch.no_grad():
        assert torch.equal(made.take(np.arange(72))[0], tiny[:-1].eval()(blobs.train.take(np.arange(72))[0]))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_features_of_another_thread_count_are_used_and_said(tiny, blobs, store, two_threads, capsys):
    shallow = cache.features(tiny[:2], blobs.train)
    assert list(shallow.threads) == [2]
    torch.set_num_threads(1)
    assert list(cache.features(tiny[:-1], blobs.valid).threads) == [1]
    assert list(cache.features(tiny[:-1], blobs.train).threads) == [1, 2], "it went on from what two had made"
    model = sft.replace_head(tiny, blobs.classes)
    sft.fit(model, blobs, sft.linear_probe(model), epochs=1)
    assert "of work saved, with 2 threads, here 1 (" in capsys.readouterr().out


def test_an_entry_without_a_thread_count_claims_none(tiny, blobs, store, capsys):
    cache.features(tiny[:-1], blobs.train)
    (index,) = store.glob("*/index.json")
    index.write_text(index.read_text().replace(f', "threads": [{torch.get_num_threads()}]', ""))
    assert list(cache.features(tiny[:-1], blobs.train).threads) == []


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
    cache.features(model[:-1], data.train, progress=count)


def test_two_processes_that_ask_at_once_compute_it_once(store):
    context = multiprocessing.get_context("spawn")
    counter, barrier = context.Value("i", 0), context.Barrier(2)
    processes = [context.Process(target=_ask, args=(str(store.parent), counter, barrier)) for _ in range(2)]
    for p in processes:
        p.start()
    for p in processes:
        p.join(60)
        assert p.exitcode == 0
    assert counter.value == 2  # 38 images are two batches: one process encoded, the other waited


def test_the_least_recently_used_entries_go_first_when_the_limit_is_reached(blobs, store, monkeypatch):
    models = [sft.backbone("tiny", seed=s) for s in range(3)]
    for model in models[:2]:
        cache.features(model[:-1], blobs.train)
    one = cache.info().bytes / 2
    first, second = (cache.cache_dir() / cache.key(m[:-1], 8, torch.device("cpu")) for m in models[:2])
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    cache.features(models[0][:-1], blobs.train)  # used again: now the second is the older one
    monkeypatch.setenv("SFTLAB_CACHE_GB", str(2.5 * one / 1e9))
    cache.features(models[2][:-1], blobs.train)
    assert first.exists() and not second.exists()


def test_clear_empties_the_store_and_says_how_much_that_was(tiny, blobs, store):
    cache.features(tiny[:-1], blobs.train)
    assert "1 entries" in str(cache.info())
    assert cache.clear() > 0 and cache.info().entries == 0


def test_a_bad_limit_is_a_sentence(store, monkeypatch):
    monkeypatch.setenv("SFTLAB_CACHE_GB", "lots")
    with pytest.raises(ValueError, match="a number of gigabytes"):
        cache.limit()
