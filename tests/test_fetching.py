"""Files from a real server on the loopback, however badly it behaves; `sftlab fetch`, and its proof offline."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
import requests
from loopback import closed_port, serving
from rich.console import Console
from small_sets import install
from typer.testing import CliRunner

import sftlab as sft
from sftlab.data import datasets
from sftlab.data.remote import Damaged, NoRoom, RemoteFile, Unreachable, Watch, download, files, manifest, transfer
from sftlab.data.torchvision_sets import TORCHVISION
from sftlab.runs import fetching
from sftlab.runs.cli import app
from sftlab.runs.fetching import proof, screen

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty data folder, an empty cache of torch.hub's, and a patience that a test can wait for."""
    for name, value in {"SFTLAB_DATA": tmp_path / "data", "TORCH_HOME": tmp_path / "torch"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "WAITS", (0.01, 0.01, 0.01, 0.01))
    monkeypatch.setattr(transfer, "SILENCE", 0.3)
    return tmp_path / "data"


class Heard(Watch):
    """Somebody who writes down what happens."""

    def __init__(self):
        self.counts, self.notes, self.activities = [], [], []

    def at(self, done, total):
        self.counts.append((done, total))

    def note(self, text):
        self.notes.append(text)

    def doing(self, text):
        self.activities.append(text)


def one_file(*shelves, content=CONTENT, digest=None, **more):
    """Return the RemoteFile that these servers hand out at /x.bin."""
    for shelf in shelves:
        shelf.files.setdefault("/x.bin", content)
    known = f"sha256:{hashlib.sha256(content).hexdigest()[:8]}" if digest is None else digest
    return RemoteFile("thing", "weights/x.bin", tuple(f"{s.url}/x.bin" for s in shelves), known, "MIT", **more)


def names(path):
    return sorted(p.name for p in path.iterdir())


# one file


def test_a_file_arrives_whole_and_is_entered_into_the_manifest(folder):
    with serving() as shelf:
        file, heard = one_file(shelf), Heard()
        assert download(file, heard) == "downloaded"
    assert file.path.read_bytes() == CONTENT and names(folder / "weights") == ["x.bin"]
    assert shelf.asked == [("/x.bin", None, None)]
    assert heard.counts[0] == (0, 300_000) and heard.counts[-1] == (300_000, 300_000)
    (entry,) = json.loads((folder / "manifest.json").read_text())["files"]
    assert entry.pop("date") == time.strftime("%Y-%m-%d")
    assert entry == {
        "item": "thing", "place": "weights/x.bin", "bytes": 300_000, "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "source": f"{shelf.url}/x.bin", "licence": "MIT",
    }  # fmt: skip


def test_what_is_here_is_checked_and_not_asked_for_again():
    with serving() as shelf:
        file = one_file(shelf)
        download(file)
        assert download(file) == "here" and len(shelf.asked) == 1


@pytest.mark.parametrize("how", [{}, {"chunked": True}, {"etag": None}, {"etag": 'W/"weak"'}])
def test_a_cut_connection_is_continued_where_it_stopped(how):
    with serving(cut=100_000, cuts=2, **how) as shelf:
        file, heard = one_file(shelf), Heard()
        assert download(file, heard) == "downloaded"
    assert file.path.read_bytes() == CONTENT
    assert shelf.asked_ranges() == [None, "bytes=100000-", "bytes=200000-"]
    strong = shelf.etag if shelf.etag == '"one"' else None  # a weak ETag does not vouch for the bytes
    assert shelf.asked[1][2] == strong
    assert len(heard.notes) == 2 and "was cut; trying again" in heard.notes[0]


def test_what_came_is_kept_for_the_next_call(folder):
    with serving(cut=100_000, cuts=1) as shelf:
        file = one_file(shelf)
        shelf.status, shelf.refusals = 503, 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "sleep", lambda _: setattr(shelf, "refusals", 10))  # then it is out of order
            with pytest.raises(Unreachable, match=r"answers 503 .*; 100 kB that came are kept for the next call"):
                download(file)
        assert names(folder / "weights") == ["x.bin.part", "x.bin.part.json"]
        shelf.refusals, shelf.asked = 0, []
        assert download(file) == "downloaded"
    assert shelf.asked_ranges() == ["bytes=100000-"] and file.path.read_bytes() == CONTENT


def test_a_server_that_cannot_continue_sends_it_all_again_and_nothing_is_glued():
    with serving(cut=100_000, cuts=2, ranges=False) as shelf:
        file = one_file(shelf)
        assert download(file) == "downloaded"
    assert file.path.read_bytes() == CONTENT
    assert shelf.asked_ranges() == [None, "bytes=100000-", "bytes=100000-"]


def test_a_server_that_always_cuts_at_the_same_place_is_given_up():
    with serving(cut=100_000, ranges=False) as shelf, pytest.raises(Unreachable, match="was cut"):
        download(one_file(shelf))
    assert len(shelf.asked) == 1 + len(transfer.WAITS) + 1  # the first brings something, the others nothing new


OTHER = np.random.default_rng(1).bytes(300_000)


@pytest.mark.parametrize(
    ("how", "content", "ranges"),
    [
        # the server sees that it is another file, and sends all of it
        ({}, OTHER, ["bytes=100000-"]),
        # it does not, but the whole is of another length
        ({"honest": False}, OTHER + b"longer", ["bytes=100000-", None]),
        # it is shorter than what we have of the old one
        ({"honest": False}, OTHER[:50_000], ["bytes=100000-", None]),
        # nothing tells but the hash
        ({"honest": False, "etag": None}, OTHER, ["bytes=100000-", None]),
    ],
)
def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_beginning(how, content, ranges):
    with serving(cut=100_000, **how) as shelf:
        file = one_file(shelf, content=content)
        shelf.files["/x.bin"] = CONTENT
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "sleep", raise_interrupt)
            with pytest.raises(KeyboardInterrupt):
                download(file)
        shelf.cut, shelf.asked, shelf.files["/x.bin"] = None, [], content
        shelf.etag = shelf.etag and '"two"'
        assert download(file) == "downloaded"
    assert file.path.read_bytes() == content and shelf.asked_ranges() == ranges


def raise_interrupt(*_):
    raise KeyboardInterrupt


def test_a_part_of_another_address_is_not_continued():
    with serving(cut=100_000) as shelf, serving() as other:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "sleep", raise_interrupt)
            with pytest.raises(KeyboardInterrupt):
                download(one_file(shelf))
        assert download(one_file(other)) == "downloaded"
    assert other.asked_ranges() == [None]


def test_all_bytes_that_came_before_a_kill_need_only_their_check(folder):
    with serving() as shelf:
        file = one_file(shelf)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "sums", raise_interrupt)  # killed between the last byte and the new name
            with pytest.raises(KeyboardInterrupt):
                download(file)
        assert names(folder / "weights") == ["x.bin.part", "x.bin.part.json"]
        assert download(file) == "downloaded" and len(shelf.asked) == 1


def test_a_wrong_hash_is_refused_and_nothing_of_it_stays(folder):
    with serving() as shelf:
        file = one_file(shelf, digest="md5:0123456789")
        found = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()[:8]
        with pytest.raises(Damaged, match=rf"x\.bin is damaged: its md5 begins with {found}, not with 01234567"):
            download(file)
    assert names(folder / "weights") == [] and not (folder / "manifest.json").exists()


def test_a_second_address_is_asked_where_the_first_has_another_file():
    with serving(files={"/x.bin": b"an old version"}) as old, serving() as good:
        file = one_file(old, good)
        assert download(file) == "downloaded" and file.path.read_bytes() == CONTENT
    assert manifest.read()["weights/x.bin"].source.startswith(good.url)


def test_a_wrong_file_in_its_place_is_set_aside_and_said(folder):
    with serving() as shelf:
        file, heard = one_file(shelf), Heard()
        file.path.parent.mkdir(parents=True)
        file.path.write_bytes(b"half of it")
        assert download(file, heard) == "downloaded"
    assert names(folder / "weights") == ["x.bin", "x.bin.damaged"] and "set aside as x.bin.damaged" in heard.notes[0]


def test_without_a_published_hash_the_manifest_is_what_a_file_is_known_by(folder):
    with serving() as shelf:
        file = one_file(shelf, digest="")
        download(file)
        file.path.write_bytes(CONTENT[:-1] + b"x")
        assert download(file) == "downloaded" and file.path.read_bytes() == CONTENT


def test_what_another_program_has_is_copied_if_it_is_right(tmp_path):
    cache = tmp_path / "cache.bin"
    cache.write_bytes(CONTENT)
    with serving() as shelf:
        file = one_file(shelf, elsewhere=(tmp_path / "none.bin", cache))
        assert download(file) == "copied" and file.path.read_bytes() == CONTENT and shelf.asked == []
        file.path.unlink()
        cache.write_bytes(CONTENT[:-1])
        assert download(file) == "downloaded"


# what a network does


def refused(shelf):
    shelf.url = closed_port()


def unknown(shelf):
    shelf.url = "http://a-name-that-nobody-has.invalid"


def busy(shelf):
    shelf.status = 429


def login(shelf):
    shelf.headers = {"Content-Type": "text/html; charset=utf-8"}


def mute(shelf):
    shelf.silent = 0


def gone(shelf):
    shelf.status = 404


@pytest.mark.parametrize(
    ("trouble", "said", "attempts"),
    [
        (refused, r"no connection to 127\.0\.0\.1:\d+ \(Connection refused\)", 0),
        (unknown, r"the name a-name-that-nobody-has\.invalid is not known here: no network\?", 0),
        (busy, r"answers 429 Too Many Requests", 5),
        (login, r"sent a web page in place of .*: does this network ask for a login", 1),
        (mute, r"fell silent \(timed out\)", 5),
        (gone, r"answers 404 Not Found for http", 1),
    ],
)
def test_each_trouble_of_a_network_is_a_sentence(folder, monkeypatch, trouble, said, attempts):
    monkeypatch.setattr(transfer, "SILENCE", 0.05)
    with serving() as shelf:
        trouble(shelf)
        with pytest.raises(Unreachable, match=said) as caught:
            download(one_file(shelf))
    assert len(shelf.asked) == attempts and "\n" not in str(caught.value) and "HTTPConnection" not in str(caught.value)


def test_a_server_that_is_out_of_order_for_a_moment_is_asked_again():
    with serving(status=503, refusals=2) as shelf:
        assert download(one_file(shelf)) == "downloaded" and len(shelf.asked) == 3


def test_a_server_that_falls_silent_is_left_and_continued():
    with serving(silent=100_000) as shelf:
        assert download(one_file(shelf)) == "downloaded"
    assert shelf.asked_ranges() == [None, "bytes=100000-", "bytes=200000-"]


# a full disk


def test_a_disk_without_room_is_said_before_anything_is_brought(monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: type("", (), {"free": 200_000}))
    with serving() as shelf:
        with pytest.raises(NoRoom, match=r"what is missing of x\.bin takes 300 kB, and .* has 200 kB left"):
            download(one_file(shelf))
        with pytest.raises(NoRoom, match=r"what is still to come takes 2\.5 GB"):
            fetching.check_space([fetching.find("vgg16"), fetching.find("cifar10"), fetching.find("pets")])


def test_a_disk_that_fills_up_meanwhile_loses_nothing(folder):
    resource = pytest.importorskip("resource", reason="only on Linux and macOS can a process limit its own files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with serving(chunked=True) as shelf:
        file = one_file(shelf)
        resource.setrlimit(resource.RLIMIT_FSIZE, (123_456, limits[1]))  # the system refuses the write itself
        try:
            with pytest.raises(NoRoom, match=r"is full \(File too large\); 123 kB of x\.bin are kept: free some"):
                download(file)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert download(file) == "downloaded" and file.path.read_bytes() == CONTENT
    assert shelf.asked_ranges() == [None, "bytes=123456-"]


def test_a_real_small_disk_that_fills_up_meanwhile_loses_nothing(folder):
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted only by root")
    try:
        with serving(chunked=True) as shelf:
            file = one_file(shelf)
            with pytest.raises(NoRoom, match=rf"is full \({os.strerror(errno.ENOSPC)}\); .* of x\.bin are kept"):
                download(file)
            kept = (folder / "weights" / "x.bin.part").stat().st_size
            assert kept > 100_000
            subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
            assert download(file) == "downloaded" and file.path.read_bytes() == CONTENT
        assert shelf.asked_ranges() == [None, f"bytes={kept}-"]
    finally:
        subprocess.run(["umount", folder], check=True)


# the manifest


def test_the_manifest_of_many_at_once_has_them_all():
    def enter(number):
        file = RemoteFile("thing", f"weights/{number}.bin", ("http://x/",), "", "MIT")
        manifest.add(file, files.Sums(number, f"{number:064x}", ""), "http://x/")

    threads = [threading.Thread(target=enter, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.bytes for entry in manifest.read().values()} == set(range(20))


def test_a_manifest_that_cannot_be_read_says_what_to_do(folder):
    folder.mkdir()
    (folder / "manifest.json").write_text('{"files": [{"place": "x"')
    with pytest.raises(Damaged, match=r"manifest\.json cannot be read .*delete it and run `sftlab fetch`"):
        manifest.read()


# `sftlab fetch`


def command(*words):
    return CliRunner().invoke(app, ["fetch", *words], env={"COLUMNS": "100"})


@pytest.fixture
def shelf(monkeypatch):
    """A server that has small sets in their true formats: fashion_mnist, dtd, pets."""
    with serving() as shelf:
        for name in ("fashion_mnist", "dtd", "pets"):
            small = install(monkeypatch, name, f"{shelf.url}/{name}/")
            shelf.files |= {f"/{name}/{file}": content for file, content in small.files.items()}
        yield shelf


@pytest.fixture
def resnet(shelf, monkeypatch, tmp_path):
    """Random weights in the true format of torchvision's ResNet-18, on that server; returns the network."""
    from torchvision import models

    model = sft.backbone("resnet18", None, seed=8)
    content = sft.export(model, tmp_path / "plain.pth").read_bytes()
    name = f"/resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(models.ResNet18_Weights.IMAGENET1K_V1.value, "url", shelf.url + name)
    shelf.files[name] = content
    return model


def test_weights_and_sets_are_brought_and_work_without_a_network_also_from_a_copy(
    shelf, resnet, folder, tmp_path, monkeypatch
):
    said = command("resnet18", "fashion_mnist", "dtd", "resnet18")
    assert said.exit_code == 0, said.output
    for part in ("✓  resnet18", "✓  fashion_mnist", "✓  dtd", "brought", "All here", "sftlab fetch --offline"):
        assert part in said.output
    assert said.output.count("resnet18") == 1 and "\r" not in said.output and "━" not in said.output  # a pipe
    copy = tmp_path / "another machine"
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    monkeypatch.setenv("SFTLAB_DATA", str(copy))
    shelf.files.clear()
    with fetching.forbidden():
        assert sft.fingerprint(sft.backbone("resnet18")) == sft.fingerprint(resnet)
        assert len(sft.load("fashion_mnist").test) == 30 and len(sft.load("dtd", size=24).test) == 6
    said = command("--offline")
    assert said.exit_code == 0, said.output
    for part in ("builds, 11.7 M parameters", "opens, 110 images", "opens, 18 images", "nothing asked for a network"):
        assert part in said.output
    listed = command().output
    assert {name for name in [*TORCHVISION, "resnet18", "vgg16"] if f"{name} " in listed} >= {"dtd", "vgg16"}
    here = [line.split()[0] for line in listed.splitlines() if line.endswith("✓ here")]
    assert here == ["resnet18", "dtd", "fashion_mnist"]
    before = len(shelf.asked)
    again = command("resnet18", "dtd")
    assert again.exit_code == 0 and again.output.count("was here, checked") == 2 and len(shelf.asked) == before


def test_one_that_fails_does_not_stop_the_rest(shelf):
    shelf.files["/dtd/dtd-r1.0.1.tar.gz"] = b"something else"
    said = command("dtd", "fashion_mnist")
    assert said.exit_code == 1
    assert "✗  dtd" in said.output and "is damaged: its md5 begins with" in " ".join(said.output.split())
    assert "✓  fashion_mnist" in said.output and "1 of 2 here. Still to come:  sftlab fetch dtd" in said.output


def test_without_a_network_fetch_says_so_and_load_and_backbone_name_it(monkeypatch):
    from torchvision import models

    install(monkeypatch, "dtd", f"{closed_port()}/")
    monkeypatch.setattr(models.ResNet18_Weights.IMAGENET1K_V1.value, "url", f"{closed_port()}/resnet18-12345678.pth")
    said = command("dtd")
    assert said.exit_code == 1 and "Connection refused" in " ".join(said.output.split())
    with pytest.raises(FileNotFoundError, match="`sftlab fetch dtd`"):
        sft.load("dtd")
    with pytest.raises(FileNotFoundError, match="`sftlab fetch resnet18`"):
        sft.backbone("resnet18")


def test_a_name_that_nothing_has_is_refused_before_anything_is_brought(shelf):
    said = command("dtd", "resnet52")
    assert said.exit_code == 1 and "nothing to fetch is named 'resnet52'. Did you mean resnet50?" in said.output
    assert shelf.asked == []


def test_what_comes_with_the_installation_needs_no_fetching(shelf):
    said = command("efficientnet_lite0", "digits")
    assert said.exit_code == 0 and said.output.count("comes with the installation") == 2 and shelf.asked == []
    proofs = {item.name: fetching.prove(item).opened for item in fetching.to_prove(["tiny", "digits"])}
    assert "parameters" in proofs["tiny"] and proofs["digits"] == "opens, 1,797 images"


def test_each_name_to_fetch_is_a_name_to_load_or_to_build():
    offered = {item.name: item for item in fetching.offered()}
    assert {name for name, item in offered.items() if item.kind == "images"} == set(TORCHVISION) <= set(datasets())
    assert all(item.megabytes > 5 for item in offered.values())
    for name in sorted(set(offered) & set(sft.backbones())):
        (file,) = offered[name].files()
        kind, _, digits = file.digest.partition(":")
        assert kind == "sha256" and len(digits) == 8 and int(digits, 16) and file.urls[0].startswith("https://")
    assert fetching.find("resnet50:IMAGENET1K_V2").files()[0].name == "resnet50-11ad3fa6.pth"
    with pytest.raises(ValueError, match="no weights named 'V9'"):
        fetching.find("resnet50:V9")


def test_a_megabyte_is_a_million_bytes_everywhere():
    resnet18 = 46_830_571  # bytes of resnet18-f37072fd.pth; torchvision states 44.7, in units of 2**20
    assert fetching.find("resnet18").megabytes == pytest.approx(resnet18 / 1e6, abs=0.01)
    assert sft.analysis.gallery(["resnet18"], size=32)["resnet18"].megabytes == fetching.find("resnet18").megabytes


def test_what_a_notebook_can_ask_for_is_fetched_by_its_name(shelf, tmp_path):
    code = ['check(DATA=("dtd", "digits", "fashion_mnist"))', "%timeit 1", "await run('dtd')  # pets"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])
    own = tmp_path / "own.ipynb"
    nbformat.write(book, own)
    said = command("--for", str(own))
    assert said.exit_code == 0 and "✓  dtd" in said.output and "✓  fashion_mnist" in said.output, said.output
    assert "pets" not in said.output and "digits" not in said.output
    book.cells = book.cells[1:2]
    nbformat.write(book, own)
    said = command("--for", str(own))
    assert said.exit_code == 1 and "own needs nothing from the network" in said.output
    assert "no notebook begins with '77'" in command("--for", "77").output


def test_lessons_name_what_they_need_to_be_run_otherwise():
    assert screen.needed_by("09") == ["mnist", "fashion_mnist", "cifar10"]
    assert screen.needed_by("recipes/keras") == ["resnet50", "cifar10"]


# the proof


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


HARM = {
    "missing": (lambda f: (f / "torchvision/dtd/dtd-r1.0.1.tar.gz").unlink(), "dtd-r1.0.1.tar.gz is missing"),
    "changed": (lambda f: flip(f / "torchvision/dtd/dtd-r1.0.1.tar.gz"), "has changed: sha256"),
    "cut short": (
        lambda f: os.truncate(f / "torchvision/dtd/dtd-r1.0.1.tar.gz", 99), "has 99 bytes, not",
    ),
    "a picture lost": (
        lambda f: (f / "torchvision/dtd/dtd/images/banded/banded_0001.jpg").unlink(), "banded_0001.jpg is missing",
    ),
    "a picture changed": (
        lambda f: flip(f / "torchvision/dtd/dtd/images/banded/banded_0001.jpg"), "banded_0001.jpg is missing beside",
    ),
    "not unpacked": (lambda f: shutil.rmtree(f / "torchvision/dtd/dtd"), "is missing beside"),
    "never fetched": (lambda f: (f / "manifest.json").unlink(), "not fetched"),
}  # fmt: skip


@pytest.mark.parametrize("how", HARM)
def test_the_proof_finds_what_is_wrong_and_fetch_mends_it(shelf, folder, how):
    harm, said = HARM[how]
    assert command("dtd", "fashion_mnist").exit_code == 0
    harm(folder)
    found = command("--offline", "dtd", "fashion_mnist")
    text = " ".join(found.output.split())
    assert (found.exit_code == 1 and said in text and "1 of 2 not ready" in text) or how == "never fetched"
    assert found.exit_code == 1 and "sftlab fetch dtd" in text
    asked = len(shelf.asked)
    assert command("dtd", "fashion_mnist").exit_code == 0 and command("--offline").exit_code == 0
    needs_network = how in ("missing", "changed", "cut short")
    assert (len(shelf.asked) > asked) == needs_network


def test_a_set_fetched_in_part_is_not_ready(shelf, folder):
    for file in TORCHVISION["pets"].remote("pets")[:1]:
        download(file)
    (item,) = fetching.to_prove()
    assert fetching.prove(item).wrong == "fetched only in part: annotations.tar.gz missing"


def test_an_empty_folder_proves_nothing():
    said = command("--offline")
    assert said.exit_code == 1 and "Nothing has been fetched" in said.output


def test_the_proof_writes_nothing(shelf, folder):
    command("dtd")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert command("--offline").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_no_connection_is_possible_while_it_is_forbidden():
    with serving(files={"/x": b"1"}) as shelf:
        with fetching.forbidden():
            with pytest.raises(requests.ConnectionError, match="something asked for a network"):
                requests.get(f"{shelf.url}/x", timeout=5)
            with socket.socket() as plain, pytest.raises(proof.NetworkForbidden):
                plain.connect(("127.0.0.1", 9))
        assert shelf.asked == []
        assert requests.get(f"{shelf.url}/x", timeout=5).content == b"1"


# what a terminal shows


def test_a_terminal_sees_how_far_it_is_and_how_long_it_takes():
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100, color_system=None)
    with screen.Line(console, "vgg16") as line:
        line.doing("checking vgg16")
        line.progress.refresh()
        for done in (500, 501, 502, 503):  # the first 500 came in an earlier call, and are no speed of this one
            line.at(done * 1_000_000, 553_000_000)
            time.sleep(0.2)
        line.progress.refresh()
        line.note("the connection was cut; trying again")
    text = written.getvalue()
    assert "checking vgg16 …" in text and "503.0/553.0 MB" in text
    speeds = [float(found) for found in re.findall(r"([\d.]+) MB/s", text)]
    minutes, seconds = re.findall(r"(\d\d):(\d\d) left", text)[-1]
    assert 2 < speeds[-1] < 10 and 5 < 60 * int(minutes) + int(seconds) < 25
    assert text.count("the connection was cut; trying again") == 1


# real processes


SMALLEST = "test_resnet.r160_in1k"  # timm's own for tests: two megabytes
COMMAND = (sys.executable, "-c", "from sftlab.runs.cli import app; app()", "fetch")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server that answers as the Hugging Face hub does: weights by commit, their sha256 in a header."""
    content = sft.export(sft.backbone(SMALLEST, None, seed=9), tmp_path / "model.safetensors").read_bytes()
    sha, commit = hashlib.sha256(content).hexdigest(), "c" * 40
    headers = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(content))}
    paths = [f"/timm/{SMALLEST}/resolve/{revision}/model.safetensors" for revision in ("main", commit)]
    with serving(files=dict.fromkeys(paths, content), headers=headers) as shelf:
        monkeypatch.setenv("HF_ENDPOINT", shelf.url)  # read when the client is imported; here it is already
        template = f"{shelf.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        shelf.place = f"weights/timm/{SMALLEST}/model.safetensors"
        yield shelf


def start(*words):
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *words], stdout=pipe, stderr=pipe, text=True)


def wait_for(part, size):
    for _ in range(1200):
        if part.exists() and part.stat().st_size >= size:
            return
        time.sleep(0.05)
    raise AssertionError(f"{part} never had {size} bytes")


@pytest.mark.slow
def test_a_killed_fetch_goes_on_where_it_stopped_and_two_at_once_bring_it_once(hub, folder):
    content = next(iter(hub.files.values()))
    target = folder / hub.place
    part = target.with_name("model.safetensors.part")
    for sign, size, code in ((signal.SIGKILL, 200_000, -9), (signal.SIGINT, 600_000, 130)):
        hub.pause = 0.05
        process = start("test_resnet")
        wait_for(part, size)
        process.send_signal(sign)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert not target.exists() and not (folder / "manifest.json").exists()
    assert "stopped; what has come is kept" in err
    kept, hub.asked, hub.pause = part.stat().st_size, [], 0.02
    both = [start("test_resnet"), start(SMALLEST)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    asked = [wanted for path, wanted, _ in hub.asked if path in hub.files]  # its client asks for other things, too
    assert asked == [f"bytes={kept}-"] and kept >= 600_000
    assert target.read_bytes() == content and names(target.parent) == ["model.safetensors"]
    assert sum("brought" in out for out, _ in said) == 1 and sum("was here, checked" in out for out, _ in said) == 1


@pytest.mark.slow
def test_where_there_is_no_network_at_all_fetch_is_a_sentence_and_the_proof_still_holds(hub, folder):
    alone = ["unshare", "--user", "--map-root-user", "--net"]  # a network namespace without a route
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this system gives no process a network of its own")
    assert command(SMALLEST).exit_code == 0
    ran = [
        subprocess.run([*alone, *COMMAND, *words], capture_output=True, text=True)
        for words in (("mnist",), ("--offline",), (SMALLEST,))
    ]
    assert [process.returncode for process in ran] == [1, 0, 0], [process.stdout for process in ran]
    said = " ".join(ran[0].stdout.split())
    assert "✗ mnist" in said and ("not known here: no network?" in said or "unreachable" in said)
    assert "builds, 0.5 M parameters" in ran[1].stdout and "was here, checked" in ran[2].stdout
    assert not ran[0].stderr, ran[0].stderr


def test_timm_weights_are_fetched_by_commit_and_checked_against_the_hubs_sha256(hub, folder):
    item = fetching.find("test_resnet")
    assert item.name == SMALLEST
    assert fetching.bring(item) == "brought" and (folder / hub.place).is_file()
    entry = manifest.read()[hub.place]
    assert "/resolve/cccccccc" in entry.source and entry.licence == "apache-2.0"
    right, hub.files = hub.files, {path: content[:-1] + b"x" for path, content in hub.files.items()}
    (folder / hub.place).unlink()
    (folder / "manifest.json").unlink()
    with pytest.raises(Damaged, match="its sha256 begins with"):
        fetching.bring(item)
    hub.files = right


def test_the_working_copy_of_a_fetched_network_is_the_one_in_the_folder(hub, folder):
    fetching.bring(fetching.find("test_resnet"))
    with fetching.forbidden():
        model = sft.backbone("test_resnet")
    assert sft.card(model)["weights"] == "r160_in1k"
    assert sft.fingerprint(model) == sft.fingerprint(sft.backbone(SMALLEST, str(Path(folder / hub.place))))
