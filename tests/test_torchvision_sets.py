"""torchvision's sets: in their true formats on disk, through a real download on the loopback, and offline."""

import gzip
import inspect
import io
import socket
import tarfile

import numpy as np
import pytest
from loopback import serving
from small_sets import MAKERS, install, packed
from torchvision import datasets

import sftlab as sft
from sftlab.data import download as fetching
from sftlab.data.torchvision_sets import TORCHVISION, bring_set, count_images, unpack

PARTS = ("train", "valid", "test")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "torchvision"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise OSError("something asked for a network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def place(monkeypatch, root, name):
    """Put the small set's files where torchvision looks for them; return it."""
    small = install(monkeypatch, name, "http://127.0.0.1:9/")
    folder = root / TORCHVISION[name].folder
    folder.mkdir(parents=True)
    for file, content in small.files.items():
        (folder / file).write_bytes(content)
    return small


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


# the catalogue


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_the_catalogue_names_the_files_sums_and_addresses_that_torchvision_uses(name):
    about = TORCHVISION[name]
    cls = getattr(datasets, about.cls)
    source = inspect.getsource(cls)  # DTD and pets write them into private names
    if name in ("cifar10", "cifar100"):
        assert ({cls.filename: cls.tgz_md5}, cls.url) == (about.files, about.bases[0] + cls.filename)
    elif name in ("mnist", "fashion_mnist"):
        assert (dict(cls.resources), list(cls.mirrors)) == (about.files, list(about.bases))
    else:
        for file, md5 in about.files.items():
            assert md5 in source and file in source
        assert about.bases[0] in source or all(about.bases[0] + file in source for file in about.files)
    assert about.licence and about.citation and about.rule


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_every_set_is_read_from_the_files_its_authors_publish(root, monkeypatch, no_network, name):
    small = place(monkeypatch, root, name)
    data = sft.load(name, size=24, valid=0.5)
    assert data.classes[0] == small.first_class
    for part in (getattr(data, p) for p in PARTS):
        assert len(part) and part.y.tolist() == [small.labels[i] for i in part.index]
        assert part[0][0].shape[-2:] == (24, 24)
    if len(small.counts) > 1:
        assert data.test.index.tolist() == list(range(sum(small.counts) - small.counts[-1], sum(small.counts)))
    if len(small.counts) == 3:
        assert sizes(data) == list(small.counts)
    assert sft.load(name, size=24, valid=0.5).train.hashes == data.train.hashes  # the second time, unpacked


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_every_set_is_downloaded_by_its_addresses(root, monkeypatch, name):
    with serving() as shelf:
        small = install(monkeypatch, name, f"{shelf.url}/")
        shelf.files = {f"/{file}": content for file, content in small.files.items()}
        first = sft.load(name, size=24, valid=0.5)
        assert [path for path, _, _ in shelf.asked] == list(shelf.files)
    assert sft.load(name, size=24, valid=0.5).test.hashes == first.test.hashes  # the server is gone


# from the disk


@pytest.fixture
def cifar10(root, monkeypatch, no_network):
    return place(monkeypatch, root, "cifar10")


def sizes(data):
    return [len(getattr(data, p)) for p in PARTS]


def test_a_set_on_disk_loads_without_a_network(cifar10):
    data = sft.load("cifar10", size=40)
    assert sizes(data) == [259, 40, 50] and data.classes[0] == "airplane" and data.train[0][0].shape == (3, 40, 40)
    assert sft.load("cifar10", size=40).valid.hashes == data.valid.hashes
    assert sft.load("cifar10", seed=1).valid.hashes != data.valid.hashes


def test_pixels_arrive_as_they_were_packed(root, monkeypatch, no_network):
    small = place(monkeypatch, root, "fashion_mnist")
    images = gzip.decompress(small.files["t10k-images-idx3-ubyte.gz"])[16:]
    data = sft.load("fashion_mnist")
    assert data.classes[9] == "Ankle boot"
    assert data.test.pixels(np.arange(30)).numpy().tobytes() == images


def test_test_is_torchvisions_and_valid_is_a_share_of_train(cifar10):
    data = sft.load("cifar10", valid=0.2, per_class=3)
    assert data.test.index.tolist() == list(range(300, 350))
    assert data.test.y.tolist() == [i % 10 for i in range(300, 350)]
    assert set(data.card.counts["valid"].values()) == {6} and set(data.card.counts["train"].values()) == {3}
    with pytest.raises(ValueError, match="cifar10 has a test split of its own"):
        sft.load("cifar10", test=0.3)


def test_a_training_image_that_is_in_test_as_well_is_dropped_and_noted(cifar10):
    data = sft.load("cifar10")
    assert 4 not in [*data.train.index, *data.valid.index] and 301 in data.test.index
    assert any("1 images of train are in test as well" in note for note in data.card.notes)


def test_the_card_says_where_a_set_comes_from(cifar10):
    text = str(sft.load("cifar10").card)
    said = ("torchvision.datasets.CIFAR10", "Krizhevsky 2009", "none stated", "as published", "32×32")
    assert all(words in text for words in said)


def test_photographs_of_many_sizes_are_decoded_once_as_squares(root, monkeypatch, no_network):
    place(monkeypatch, root, "pets")
    data = sft.load("pets", size=24)
    assert sizes(data) == [10, 2, 6] and data.classes == ["Abyssinian", "Great Dane"]
    assert data.train.images.shape == (18, 3, 24, 24)
    assert sft.load("pets", size=28).test.ids == data.test.ids
    for file in (root / "oxford-iiit-pet" / "images").iterdir():
        file.unlink()
    assert sft.load("pets", size=24).train.hashes == data.train.hashes  # from decoded/
    with pytest.raises(FileNotFoundError, match=r"pets in .*oxford-iiit-pet is damaged .*`sftlab fetch pets` mends it"):
        sft.load("pets", size=20)


# unpacking


def test_a_set_whose_unpacking_was_cut_off_is_not_taken_for_a_whole_one(root, monkeypatch, no_network):
    place(monkeypatch, root, "dtd")
    seen, write = [], tarfile.copyfileobj

    def cut_off(*words):
        seen.append(words)
        if len(seen) == 15:
            raise KeyboardInterrupt
        write(*words)

    monkeypatch.setattr(tarfile, "copyfileobj", cut_off)
    with pytest.raises(KeyboardInterrupt):
        sft.load("dtd")
    assert visible(root / "dtd") == ["dtd-r1.0.1.tar.gz"]
    assert sizes(sft.load("dtd")) == [8, 4, 6]


def test_an_archive_that_reaches_out_of_its_folder_writes_nothing_there(tmp_path):
    archive = tmp_path / "in" / "sets" / "x.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(packed({"fine.txt": b"1", "../out.txt": b"2"}))
    with pytest.raises(ValueError, match=r"x\.tar\.gz cannot be unpacked: '\.\./out\.txt' would be .* outside"):
        unpack(archive)
    assert not list(tmp_path.glob("*.txt")) and not list((tmp_path / "in").glob("*.txt"))


def test_a_link_in_an_archive_that_leads_out_of_it_is_refused(tmp_path):
    buffer, archive = io.BytesIO(), tmp_path / "x.tar.gz"
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    archive.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="cannot be unpacked: 'link' is a link to an absolute path"):
        unpack(archive)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


@pytest.mark.parametrize("harm", ["lost", "cut short"])
def test_a_picture_that_does_not_open_is_found_and_unpacked_again(root, monkeypatch, no_network, harm):
    place(monkeypatch, root, "dtd")
    bring_set("dtd")
    photo = root / "dtd" / "dtd" / "images" / "blotchy" / "blotchy_0006.jpg"
    right = photo.read_bytes()
    photo.unlink() if harm == "lost" else photo.write_bytes(right[: len(right) // 2])
    with pytest.raises(FileNotFoundError, match=r"dtd in .* is damaged .*`sftlab fetch dtd` mends it"):
        count_images("dtd")
    bring_set("dtd")
    assert photo.read_bytes() == right and count_images("dtd") == 18


# over the network


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_every_set_says_so_when_there_is_no_network(root, no_network, name):
    about = TORCHVISION[name]
    with pytest.raises(FileNotFoundError) as error:
        sft.load(name)
    said = (*about.files, f"({about.megabytes} MB", about.cls, str(root / about.folder), f"sftlab fetch {name}")
    assert all(words in str(error.value) for words in said)


def test_a_file_that_arrives_damaged_or_is_not_there_is_not_taken(root, monkeypatch):
    with serving() as shelf:
        small = install(monkeypatch, "cifar10", f"{shelf.url}/")
        with pytest.raises(FileNotFoundError, match="answers 404"):
            sft.load("cifar10")
        shelf.files = {"/cifar-10-python.tar.gz": small.files["cifar-10-python.tar.gz"][:200]}
        with pytest.raises(FileNotFoundError, match=r"is damaged: it is not the file with md5"):
            sft.load("cifar10")
    assert not visible(root)


def test_a_mirror_that_never_answers_is_given_up_and_the_next_one_asked(root, monkeypatch):
    monkeypatch.setattr(fetching, "SILENCE", 0.05)
    with serving(silent=0) as mute, serving() as shelf:
        monkeypatch.setattr(fetching, "WAITS", (0.01, 0.01))
        small = install(monkeypatch, "mnist", f"{mute.url}/", f"{shelf.url}/")
        files = {f"/{file}": content for file, content in small.files.items()}
        mute.files = files
        with pytest.raises(FileNotFoundError, match=r"was cut.*answers 404"):
            sft.load("mnist")
        shelf.files = files
        assert len(sft.load("mnist").test) == 30
