"""The classic recipes: their notebooks' own cells, run on other networks and on CIFAR-10's own files."""

import hashlib
import io
import math
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from small_sets import install
from torch import nn
from torchvision import datasets, transforms
from torchvision.models import vgg

import sftlab as sft
from sftlab.networks import original_state_dict
from sftlab.runs import notebooks

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ["keras_dense", "last_layers", "pytorch_probe"]
CIFAR = {"backbone": "resnet50", "data": "cifar10", "labels": None, "epochs": 10, "rate": 0.001}
AS_PRINTED = {
    "pytorch_probe": CIFAR | {"resize": 256, "crop": 224, "batch": 64, "momentum": 0.9},
    "keras_dense": CIFAR | {"size": 224, "hidden": 1024, "batch": 32, "eps": 1e-7},
    "last_layers": CIFAR | {"resize": 256, "crop": 224, "batch": 64, "momentum": 0.9, "last": 1},
}


def run(name, until=None, /, **parameters):
    """Run the code cells of a recipe with other parameters, up to the one that contains `until`; return its names."""
    names = {"__name__": name}
    for cell in cells(name):
        exec(compile(cell.source, name, "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names |= parameters
        if until and until in cell.source:
            break
    return names


def cells(name):
    """Return the code cells of a recipe's source."""
    (source,) = notebooks.sources(ROOT, [f"recipes/{name}"])
    return [cell for cell in notebooks.read(source).cells if cell.cell_type == "code"]


@pytest.fixture
def in_place(monkeypatch, house_style):
    """Where the recipes work."""
    monkeypatch.chdir(ROOT / "notebooks" / "recipes")


@pytest.fixture
def small(monkeypatch, in_place):
    """Forty coloured images of two kinds in place of any data set."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = rng.normal(100 + 50 * y[:, None, None, None], 60, (40, 3, 40, 40)).clip(0, 255).astype(np.uint8)

    def load(name, **options):
        return sft.from_arrays(x, y, **options)

    monkeypatch.setattr(sft, "load", load)


def slim_vgg16():
    """VGG-16 whose two wide layers are narrow: in full they take half a gigabyte, and each recipe holds five copies."""
    with torch.device("meta"):
        net = torchvision.models.vgg16()
    net.features = vgg.make_layers(vgg.cfgs["D"])
    for layer in net.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    net.classifier[0], net.classifier[3] = nn.Linear(512 * 49, 32), nn.Linear(32, 32)
    net.classifier[6] = nn.Linear(32, 1000)
    return net


def with_slim_vgg16(monkeypatch):
    """Make torchvision build the slim VGG-16 under the name of the real one."""
    make = torchvision.models.get_model

    def get_model(name, **options):
        return slim_vgg16() if name == "vgg16" else make(name, **options)

    monkeypatch.setattr(torchvision.models, "get_model", get_model)


@pytest.fixture
def random_weights(monkeypatch):
    """Networks as they are built. They prove that two computations are one, and nothing else: no score is looked at."""
    build = sft.backbone
    with_slim_vgg16(monkeypatch)
    monkeypatch.setattr(sft, "backbone", lambda name, weights=None, **options: build(name, None, **options))


SMALL = {"SIZE": 32, "EPOCHS": 2, "BATCH": 8, "LABELS": 12}


@pytest.mark.parametrize("recipe", RECIPES)
def test_textbook_and_lab_are_one_computation_with_real_weights(recipe, small):
    names = run(recipe, **SMALL)
    assert names["how"].backbone == "efficientnet_lite0" and len(names["ours"]) == 6


# Each network once, and twice where a stage learns. In a ResNet-50 from random weights BatchNorm over few images blows
# the rounding of its last stage up; a ResNet-18's is shorter, so the recipe that trains that stage is compared there.
OTHERS = [
    ("pytorch_probe", "resnet50"),
    ("keras_dense", "vgg16"),
    ("last_layers", "resnet18"),
    ("last_layers", "vgg16"),
]


@pytest.mark.parametrize(("recipe", "network"), OTHERS)
def test_textbook_and_lab_are_one_computation_on_other_networks(recipe, network, small, random_weights):
    # BatchNorm over few numbers would blow rounding up: here the last stage of a ResNet sees 4×4 maps of 12 images
    size = {"SIZE": 112, "BATCH": 12} if recipe == "last_layers" and network != "vgg16" else {}
    names = run(recipe, BACKBONE=network, **SMALL | size)
    assert names["how"].backbone == network and len(names["ours"]) == (4 if size else 6)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_preset_is_what_is_printed_and_offline_changes_only_network_images_and_size(recipe):
    names = run(recipe, "SimpleNamespace(", RECIPE="as printed")
    assert vars(names["how"]) == AS_PRINTED[recipe]
    how = run(recipe, "SimpleNamespace(", RECIPE="as printed", BACKBONE="vgg16", EPOCHS=1)["how"]
    assert vars(how) == AS_PRINTED[recipe] | {"backbone": "vgg16", "epochs": 1}
    differ = {name for name, value in names["PRINTED"].items() if names["OFFLINE"][name] != value}
    assert differ == {"backbone", "data", "labels"} | {"resize", "crop", "size"} & set(names["PRINTED"])


# --- as printed, on CIFAR-10's own files


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of 350 images in its own format, where the lab looks for it; return its pixels."""
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    (archive,) = install(monkeypatch, "cifar10", "https://nowhere.invalid/").files.values()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path / "torchvision", filter="data")
    return datasets.CIFAR10(tmp_path / "torchvision").data.transpose(0, 3, 1, 2)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Files of random weights where torchvision's V1 of both networks would lie, their names ending with their hash.

    Such weights prove that two computations are one, and nothing else: no score is looked at.
    """
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with_slim_vgg16(monkeypatch)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = {name: torchvision.models.get_model(name) for name in ("resnet50", "vgg16")}
    for block in [m for m in nets["resnet50"].modules() if hasattr(m, "bn3")]:
        nn.init.constant_(block.bn3.weight, 0.2)  # with random blocks at full strength rounding would blow up
    for name, net in nets.items():
        torch.save(net.state_dict(), folder / "weights")
        file = f"{name}-{hashlib.sha256((folder / 'weights').read_bytes()).hexdigest()[:8]}.pth"
        (folder / "weights").rename(folder / file)
        chosen = torchvision.models.get_model_weights(name).IMAGENET1K_V1.value
        monkeypatch.setattr(chosen, "url", f"https://nowhere.invalid/{file}")
    return {name: net.state_dict() for name, net in nets.items()}


def test_as_printed_takes_all_training_images_and_torchvisions_own_weights(cifar, shelf, in_place):
    names = run("pytorch_probe", "levels.max()", RECIPE="as printed")
    assert len(names["data"].train) == 299 and names["data"].classes[3] == "cat"
    assert sft.card(names["shelf"])["weights"] == "IMAGENET1K_V1"
    assert names["mean"] == pytest.approx([0.485, 0.456, 0.406])
    assert names["std"] == pytest.approx([0.229, 0.224, 0.225])
    assert names["ours"].shape == (3, 224, 224) and names["model"].head.out_features == 10
    for name, value in names["original_state_dict"](names["shelf"]).items():
        assert torch.equal(value, shelf["resnet50"][name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "network"), [("pytorch_probe", "resnet50"), ("keras_dense", "resnet50"), ("last_layers", "vgg16")]
)
def test_as_printed_runs_to_its_end(recipe, network, cifar, shelf, in_place):
    names = run(recipe, RECIPE="as printed", BACKBONE=network, EPOCHS=1, SIZE=32)
    assert sft.card(names["shelf"])["weights"] == "IMAGENET1K_V1" and names["data"].classes[3] == "cat"
    assert len(names["ours"]) == math.ceil(len(names["data"].train) / names["how"].batch)
    if recipe != "keras_dense":
        assert {rate for step in names["history"].steps for rate in step.rates.values()} == {0.0, 0.001}


def test_the_printed_transform_and_the_lab_agree_to_a_grey_level(cifar):
    printed = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])
    data = sft.load("cifar10", size=256)
    theirs = torch.stack([printed(Image.fromarray(x.transpose(1, 2, 0))) for x in cifar[data.train.index[:8]]])
    ours = transforms.CenterCrop(224)(data.train.pixels(np.arange(8)))
    assert (theirs.int() - ours.int()).abs().max() <= 1


def test_the_printed_code_word_for_word_has_the_labs_losses(cifar, random_weights):
    """The recipe as one finds it, on torchvision's set, transform and loader; with the one `eval()` that it lacks."""
    transform = transforms.Compose([
        transforms.Resize(64), transforms.CenterCrop(56), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip
    data, shelf = sft.load("cifar10", size=64, per_class=8), sft.backbone("resnet18")
    network = nn.Sequential(transforms.CenterCrop(56))
    for name, stage in shelf.named_children():
        network.add_module(name, stage)
    lab = sft.replace_head(network, data.classes)

    dataset = datasets.CIFAR10(sft.data.data_dir() / "torchvision", train=True, transform=transform)
    chosen = torch.utils.data.Subset(dataset, data.train.index)
    order = np.concatenate(sft.data.batch_positions(len(data.train), 16, seed=0, epoch=0))
    loader = torch.utils.data.DataLoader(chosen, batch_size=16, sampler=order)
    model = torchvision.models.get_model("resnet18")
    model.load_state_dict(original_state_dict(shelf))
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.fc = nn.Linear(512, 10)
    model.fc.load_state_dict(lab.head.state_dict())
    model.eval()
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.001, momentum=0.9)
    printed = []
    for images, labels in loader:
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(images), labels)
        loss.backward()
        optimizer.step()
        printed.append(loss.item())

    history = sft.fit(
        lab, data, sft.linear_probe(lab, lr=0.001), epochs=1, batch_size=16, optimizer="sgd", weight_decay=0,
        keep_best=False, verbose=False,
    )  # fmt: skip
    assert [step.loss for step in history.steps] == pytest.approx(printed, abs=2e-3)


# --- the parts that are written by hand


def test_keras_adam_is_adam_but_for_where_epsilon_stands():
    names = {"torch": torch, "math": math, "how": SimpleNamespace(eps=0.0)}
    (cell,) = [cell for cell in cells("keras_dense") if "class KerasAdam" in cell.source]
    exec(cell.source, names)
    torch.manual_seed(0)
    start, gradients = torch.randn(20), torch.randn(5, 20)

    def walk(optimizer, steps=5):
        w = start.clone().requires_grad_()
        made = optimizer([w])
        for g in gradients[:steps]:
            w.grad = g.clone()
            made.step()
        return w.detach()

    ours = walk(lambda w: names["KerasAdam"]([{"params": w, "lr": 0.01}]))
    assert torch.allclose(ours, walk(lambda w: torch.optim.Adam(w, lr=0.01, eps=0.0)), atol=1e-6)
    names["how"].eps = 0.1
    ours = walk(lambda w: names["KerasAdam"]([{"params": w, "lr": 0.01}]), steps=1)
    alike = walk(lambda w: torch.optim.Adam(w, lr=0.01, eps=0.1 / math.sqrt(1 - 0.999)), steps=1)
    assert torch.allclose(ours, alike, atol=1e-6)
    assert not torch.allclose(ours, walk(lambda w: torch.optim.Adam(w, lr=0.01, eps=0.1), steps=1), atol=1e-4)
