"""`sftlab fetch`: the list, files from a real server on the loopback, and the proof that all is there."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from loopback import closed_port, serving
from small_sets import install

import sftlab as sft
from sftlab.data import datasets, storage
from sftlab.data import download as fetching
from sftlab.data.storage import NoRoom
from sftlab.data.torchvision_sets import TORCHVISION
from sftlab.runs import fetch
from sftlab.runs.cli import app


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty data folder, an empty cache of torch.hub's, and a patience that a test can wait for."""
    for name, value in {"SFTLAB_DATA": tmp_path / "data", "TORCH_HOME": tmp_path / "torch"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "WAITS", (0.01, 0.01, 0.01, 0.01))
    monkeypatch.setattr(fetching, "SILENCE", 0.3)
    return tmp_path / "data"


def test_room_is_asked_for_before_anything_is_brought(monkeypatch):
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: type("", (), {"free": 200_000}))
    with pytest.raises(NoRoom, match=r"what is still to come: 2\.5\dGB needed"):
        fetch.bring(["vgg16", "cifar10", "pets"])


# `sftlab fetch`


def command(*words):
    return CliRunner().invoke(app, ["fetch", *words])


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
    assert said.output.count("brought") == 3 and said.output.count("resnet18") == 1, "a name is brought once"
    assert "All here" in said.output and "sftlab fetch --offline" in said.output and "\r" not in said.output
    copy = tmp_path / "another machine"
    shutil.copytree(folder, copy)
    shutil.rmtree(folder)
    monkeypatch.setenv("SFTLAB_DATA", str(copy))
    shelf.files.clear()
    assert sft.fingerprint(sft.backbone("resnet18")) == sft.fingerprint(resnet)
    assert len(sft.load("fashion_mnist").test) == 30 and len(sft.load("dtd", size=24).test) == 6
    said = command("--offline")
    assert said.exit_code == 0, said.output
    for part in ("builds, 11.7 M parameters", "opens, 110 images", "opens, 18 images", "All of it is here"):
        assert part in said.output
    listed = command().output
    assert {name for name in [*TORCHVISION, "resnet18", "vgg16"] if f"{name} " in listed} >= {"dtd", "vgg16"}
    here = [line.split()[0] for line in listed.splitlines() if line.endswith("  here")]
    assert here == ["resnet18", "dtd", "fashion_mnist"]
    before = len(shelf.asked)
    again = command("resnet18", "dtd")
    assert again.exit_code == 0 and again.output.count("was here") == 2 and len(shelf.asked) == before


def test_one_that_fails_does_not_stop_the_rest(shelf):
    shelf.files["/dtd/dtd-r1.0.1.tar.gz"] = b"something else"
    said = command("dtd", "fashion_mnist")
    assert said.exit_code == 1
    assert "is damaged" in said.output and "brought" in said.output
    assert "1 of 2 not here. To go on:  sftlab fetch dtd" in said.output


def test_without_a_network_fetch_says_so_and_load_names_it(monkeypatch):
    install(monkeypatch, "dtd", f"{closed_port()}/")
    said = command("dtd")
    assert said.exit_code == 1 and "is there a network?" in said.output
    with pytest.raises(FileNotFoundError, match="`sftlab fetch dtd`"):
        sft.load("dtd")


def test_a_name_that_nothing_has_is_refused_before_anything_is_brought(shelf):
    said = command("dtd", "resnet52")
    assert said.exit_code == 1 and "nothing to fetch is named 'resnet52'. Did you mean resnet50?" in said.output
    assert shelf.asked == []


def test_what_comes_with_the_installation_needs_no_fetching(shelf):
    said = command("efficientnet_lite0", "digits")
    assert said.exit_code == 0 and said.output.count("comes with the installation") == 2 and shelf.asked == []
    proof = command("--offline", "tiny", "digits")
    assert proof.exit_code == 0 and "M parameters" in proof.output and "to train on" in proof.output


def test_each_name_to_fetch_is_a_name_to_load_or_to_build():
    assert set(fetch.OFFERED) <= {*datasets(), *sft.backbones()}
    assert all(fetch.find(name) == name and fetch.megabytes(name) > 5 for name in fetch.OFFERED)
    for name in set(fetch.OFFERED) - set(TORCHVISION):
        (file,) = fetch.files(name)
        kind, _, digits = file.known.partition(":")
        assert kind == "sha256" and len(digits) == 8 and int(digits, 16) and file.urls[0].startswith("https://")
    assert fetch.files("resnet50:IMAGENET1K_V2")[0].path.name == "resnet50-11ad3fa6.pth"
    assert "no weights named 'V9'" in command("resnet50:V9").output


def test_a_megabyte_is_a_million_bytes_everywhere():
    resnet18 = 46_830_571  # bytes of resnet18-f37072fd.pth; torchvision states 44.7, in units of 2**20
    assert fetch.megabytes("resnet18") == pytest.approx(resnet18 / 1e6, abs=0.01)


def test_what_a_notebook_can_ask_for_is_fetched_by_its_name(shelf, tmp_path):
    code = ['check(DATA=("dtd", "digits", "fashion_mnist"))', "%timeit 1", "await run('dtd')  # pets"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])
    nbformat.write(book, tmp_path / "own.ipynb")
    said = command("--for", str(tmp_path / "own.ipynb"))
    assert said.exit_code == 0 and said.output.count("brought") == 2, said.output
    assert "pets" not in said.output and "digits" not in said.output
    assert "no notebook begins with '77'" in command("--for", "77").output
    assert fetch.needed_by("further/pretrain") == ["mnist", "fashion_mnist", "cifar10"]
    assert fetch.needed_by("recipes/keras") == ["resnet50", "vgg16", "cifar10"]
    nothing = command("--for", "03")
    assert nothing.exit_code == 0 and "03 needs nothing from the network" in nothing.output


# the proof


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DTD = Path("torchvision", "dtd")
ARCHIVE, PHOTO = DTD / "dtd-r1.0.1.tar.gz", DTD / "dtd" / "images" / "banded" / "banded_0001.jpg"
HARM = {  # how, what is said, whether it takes a network to mend it
    "missing": (lambda folder: (folder / ARCHIVE).unlink(), "dtd-r1.0.1.tar.gz is missing", True),
    "changed": (lambda folder: flip(folder / ARCHIVE), "is not the file", True),
    "cut short": (lambda folder: os.truncate(folder / ARCHIVE, 99), "is not the file", True),
    "a picture lost": (lambda folder: (folder / PHOTO).unlink(), "banded_0001.jpg", False),
    "not unpacked": (lambda folder: shutil.rmtree(folder / DTD / "dtd"), "is damaged", False),
}


@pytest.mark.parametrize("how", HARM)
def test_the_proof_finds_what_is_wrong_and_fetch_mends_it(shelf, folder, how):
    harm, said, needs_network = HARM[how]
    assert command("dtd", "fashion_mnist").exit_code == 0
    harm(folder)
    found = command("--offline", "dtd", "fashion_mnist")
    text = " ".join(found.output.split())
    assert found.exit_code == 1 and said in text and "1 of 2 not ready" in text and "sftlab fetch dtd" in text
    asked = len(shelf.asked)
    assert command("dtd", "fashion_mnist").exit_code == 0 and command("--offline").exit_code == 0
    assert (len(shelf.asked) > asked) == needs_network


def test_the_proof_writes_nothing_and_an_empty_folder_proves_nothing(shelf, folder):
    said = command("--offline")
    assert said.exit_code == 1 and "Nothing has been fetched" in said.output
    command("dtd")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert command("--offline").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


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
    assert "is there a network?" in said
    assert "builds, 0.5 M parameters" in ran[1].stdout and "was here" in ran[2].stdout
    assert not ran[0].stderr, ran[0].stderr


def test_timm_weights_are_fetched_by_commit_checked_by_the_hubs_sha256_and_used_from_the_folder(hub, folder):
    assert fetch.find("test_resnet") == SMALLEST
    assert fetch.bring(["test_resnet"]) and (folder / hub.place).is_file()
    assert any("/resolve/cccccccc" in path for path, _, _ in hub.asked)
    asked = len(hub.asked)
    model = sft.backbone("test_resnet")
    assert len(hub.asked) == asked and sft.card(model)["weights"] == "r160_in1k"
    assert sft.fingerprint(model) == sft.fingerprint(sft.backbone(SMALLEST, folder / hub.place))
    hub.files = {path: content[:-1] + b"x" for path, content in hub.files.items()}
    (folder / hub.place).unlink()
    done = command("test_resnet")
    assert done.exit_code == 1 and "is damaged" in done.output


@pytest.mark.parametrize("offline", [False, True])
def test_without_its_hub_a_timm_network_says_what_to_fetch_and_where_to_put_it(hub, monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    hub.status = None if offline else 404
    with pytest.raises(FileNotFoundError) as caught:
        sft.backbone("test_resnet")
    for part in ("model.safetensors", f"timm/{SMALLEST}", f"sftlab fetch {SMALLEST}", "weights=PATH"):
        assert part in str(caught.value)
