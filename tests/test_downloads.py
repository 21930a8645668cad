"""torchvision's sets: in their true formats on disk, through a real download on the loopback, and offline."""

import gzip
import hashlib
import http.server
import io
import pickle
import socket
import struct
import tarfile
import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.datasets import utils

import sftlab as sft
from sftlab.data import downloads
from sftlab.data.downloads import TORCHVISION, Bar

RNG = np.random.default_rng(0)
PARTS = ("train", "valid", "test")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "PATIENCE", 5.0)
    return tmp_path / "torchvision"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("the test has no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def cifar(monkeypatch):
    """A small CIFAR-10 in its own format: {name in the archive: content}; torchvision knows its sums."""
    x = RNG.integers(0, 256, (350, 3072), dtype=np.uint8)
    x[301] = x[4]  # a training image that is in test as well
    files, names = {}, [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    for k, name in enumerate(names):
        rows = slice(60 * k, 60 * k + 60) if k < 5 else slice(300, 350)
        batch = {"data": x[rows], "labels": [int(i) % 10 for i in range(rows.start, rows.stop)]}
        files[name] = pickle.dumps(batch, protocol=2)
    kinds = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    files["batches.meta"] = pickle.dumps({"label_names": kinds}, protocol=2)
    cls = datasets.CIFAR10
    monkeypatch.setattr(cls, "train_list", [[name, md5(files[name])] for name in names[:5]])
    monkeypatch.setattr(cls, "test_list", [["test_batch", md5(files["test_batch"])]])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": md5(files["batches.meta"])})
    return files, x


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpack(files, root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def server(tmp_path):
    """An HTTP server on the loopback that hands out what lies in `served`."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as running:
        running.handle_error = lambda *_: None  # a client that hangs up early is no news
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}"


def idx(array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def test_a_set_on_disk_loads_without_a_network(root, cifar, no_network):
    files, x = cifar
    unpack(files, root)
    data = sft.load("cifar10", size=40)
    assert [len(getattr(data, p)) for p in PARTS] == [259, 40, 50] and data.classes[0] == "airplane"
    assert np.array_equal(data.train.images, x.reshape(-1, 3, 32, 32))
    assert data.train[0][0].shape == (3, 40, 40)
    assert sft.load("cifar10", size=40).valid.hashes == data.valid.hashes
    assert sft.load("cifar10", seed=1).valid.hashes != data.valid.hashes


def test_test_is_torchvisions_and_valid_is_a_share_of_train(root, cifar, no_network):
    unpack(cifar[0], root)
    data = sft.load("cifar10", valid=0.2, per_class=3)
    assert data.test.index.tolist() == list(range(300, 350))
    assert data.test.y.tolist() == [i % 10 for i in range(300, 350)]
    assert set(data.card.counts["valid"].values()) == {6} and set(data.card.counts["train"].values()) == {3}
    with pytest.raises(ValueError, match="cifar10 has a test split of its own"):
        sft.load("cifar10", test=0.3)


def test_a_training_image_that_is_in_test_as_well_is_dropped_and_noted(root, cifar, no_network):
    unpack(cifar[0], root)
    data = sft.load("cifar10")
    assert 4 not in [*data.train.index, *data.valid.index] and 301 in data.test.index
    assert any("1 images of train are in test as well" in note for note in data.card.notes)


def test_the_card_says_where_a_set_comes_from(root, cifar, no_network):
    unpack(cifar[0], root)
    text = str(sft.load("cifar10").card)
    for part in ("torchvision.datasets.CIFAR10", "Krizhevsky 2009", "none stated", "as published", "32×32"):
        assert part in text


def test_fashion_mnist_is_read_from_its_idx_files(root, no_network):
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    x, y = RNG.integers(0, 256, (110, 28, 28), dtype=np.uint8), (np.arange(110) % 10).astype(np.uint8)
    for name, rows in (("train", slice(0, 80)), ("t10k", slice(80, 110))):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(x[rows]))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(y[rows]))
    data = sft.load("fashion_mnist")
    assert data.train.images.shape == (110, 1, 28, 28) and data.classes[9] == "Ankle boot"
    assert np.array_equal(data.test.pixels(np.arange(30))[:, 0], x[80:])
    assert data.test.y.tolist() == y[80:].tolist()


def test_photographs_of_many_sizes_are_decoded_once_as_squares(root, no_network):
    base = root / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations").mkdir()
    lines = {"trainval": [], "test": []}
    for split, n in (("trainval", 6), ("test", 3)):
        for k, breed in enumerate(("Abyssinian", "great_dane")):
            for i in range(n):
                name = f"{breed}_{split}{i}"
                shape = (30 + i, 40, 3)
                Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(base / "images" / f"{name}.jpg")
                lines[split].append(f"{name} {k + 1} {k + 1} 1")
        (base / "annotations" / f"{split}.txt").write_text("\n".join(lines[split]))
    data = sft.load("pets", size=24)
    assert [len(getattr(data, p)) for p in PARTS] == [10, 2, 6] and data.classes == [
        "Abyssinian",
        "Great Dane",
    ]
    assert data.train.images.shape == (18, 3, 24, 24)
    for file in (base / "images").iterdir():
        file.unlink()
    assert sft.load("pets", size=24).train.hashes == data.train.hashes  # from decoded/
    with pytest.raises(FileNotFoundError, match=r"pets in .*oxford-iiit-pet is damaged or only partly unpacked"):
        sft.load("pets", size=20)


def test_a_set_without_splits_is_split_at_random(root, no_network):
    for kind in ("AnnualCrop", "Forest"):
        folder = root / "eurosat" / "2750" / kind
        folder.mkdir(parents=True)
        for i in range(20):
            x = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(x).save(folder / f"{kind}_{i}.jpg")
    data = sft.load("eurosat", size=32, test=0.5)
    assert [len(getattr(data, p)) for p in PARTS] == [14, 6, 20] and data.train.images.shape == (
        40,
        3,
        64,
        64,
    )
    assert "random" in data.card.split


def test_a_set_is_downloaded_with_a_bar_that_leaves_nothing_behind(root, cifar, server, monkeypatch, capfd):
    folder, url = server
    archive = packed(cifar[0])
    (folder / "cifar-10-python.tar.gz").write_bytes(archive)
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{url}/cifar-10-python.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
    socket.setdefaulttimeout(None)
    before = utils.tqdm, None
    counted = []
    monkeypatch.setattr(Bar, "update", lambda self, n: counted.append((self.total, n)))
    data = sft.load("cifar10")
    assert len(data.test) == 50 and capfd.readouterr() == ("", "")
    assert sum(n for _, n in counted) == len(archive) == counted[0][0]
    assert (utils.tqdm, socket.getdefaulttimeout()) == before
    monkeypatch.setattr(datasets.CIFAR10, "url", closed_port())
    assert sft.load("cifar10").test.hashes == data.test.hashes  # the second time from disk


def test_an_archive_placed_by_hand_is_enough(root, cifar, no_network, monkeypatch):
    archive = packed(cifar[0])
    root.mkdir()
    (root / "cifar-10-python.tar.gz").write_bytes(archive)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
    assert len(sft.load("cifar10").test) == 50


def test_offline_a_missing_set_says_what_to_fetch_and_where_to_put_it(root, cifar, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{closed_port()}/cifar-10-python.tar.gz")
    with pytest.raises(FileNotFoundError) as error:
        sft.load("cifar10")
    for part in (
        "refused",
        "cifar-10-python.tar.gz (170 MB",
        "torchvision.datasets.CIFAR10",
        f"put it into {root}",
    ):
        assert part in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_every_set_says_so_when_there_is_no_network(root, no_network, name):
    about = TORCHVISION[name]
    with pytest.raises(FileNotFoundError) as error:
        sft.load(name)
    for part in (*about.files, f"({about.megabytes} MB", about.cls, str(root / about.folder)):
        assert part in str(error.value)
    assert about.licence and about.citation and about.rule


def test_a_file_that_arrives_damaged_or_is_not_there_is_not_taken(root, cifar, server, monkeypatch):
    folder, url = server
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{url}/cifar-10-python.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded \(HTTP Error 404"):
        sft.load("cifar10")
    (folder / "cifar-10-python.tar.gz").write_bytes(packed(cifar[0])[:200])
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*corrupted"):
        sft.load("cifar10")


def test_a_mirror_that_never_answers_is_given_up(root, monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.2)
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(gzip.compress(b"")[:0])
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        with pytest.raises(FileNotFoundError, match="timed out"):
            sft.load("fashion_mnist")


def test_the_bar_shows_in_a_terminal_and_is_wiped_at_the_end(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(downloads, "_notebook_output", lambda: None)
    with Bar("cifar10", 4_000_000) as bar:
        bar.update(1_000_000)
    written = screen.getvalue()
    assert "downloading cifar10: 1 of 4 MB (25%)" in written
    assert written.split("\r")[-1] == "" and written.split("\r")[-2].strip() == ""


def test_the_bar_of_a_notebook_is_one_output_emptied_at_the_end(monkeypatch):
    shown = []

    class Output:
        def update(self, data, raw):
            shown.append(data["text/plain"])

    monkeypatch.setattr(downloads, "_notebook_output", Output)
    with pytest.raises(KeyboardInterrupt), Bar("pets", None) as bar:
        bar.update(3_000_000)
        raise KeyboardInterrupt
    assert shown == ["downloading pets: 3 MB", ""]


def test_a_loaded_set_trains(root, cifar, no_network):
    unpack(cifar[0], root)
    data = sft.load("cifar10", per_class=2)
    model = sft.replace_head(sft.backbone("tiny"), data.classes)
    history = sft.fit(model, data, sft.linear_probe(model, lr=1e-2), epochs=1)
    assert torch.isfinite(torch.tensor(history.epochs[-1].valid_loss))
