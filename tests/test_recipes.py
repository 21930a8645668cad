"""The printed recipes: their notebooks' own cells, also on CIFAR-10's own files; and Keras against the library."""

import ast
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

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
from sftlab.runs import notebooks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras on PyTorch

ROOT = Path(__file__).resolve().parents[1]
PRINTED = {  # what the printed form holds, in its order
    "pytorch_recipe": """import, resnet50(weights=, model.parameters(), requires_grad = False, model.fc = nn.Linear(,
        model.fc.in_features, 10), Resize(256), CenterCrop(224), ToTensor(), Normalize([0.485, CIFAR10(root=,
        train=True, download=True, transform=transform), DataLoader(, batch_size=64, shuffle=True, CrossEntropyLoss(),
        optim.SGD(, model.fc.parameters(), lr=0.001, momentum=0.9, for epoch in range(10), zero_grad(), model(inputs),
        criterion(, backward(), step()""",
    "keras_recipe": """import, ResNet50(weights="imagenet", include_top=False, GlobalAveragePooling2D(), Dense(1024,
        activation="relu", Dense(num_classes, activation="softmax", Model(inputs=, base_model.layers, trainable = False,
        compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"],
        model.fit(x_train, y_train, epochs=10)""",
}


def cells(name):
    """Return the code cells of a recipe's source."""
    (source,) = notebooks.sources(ROOT, [f"recipes/{name}"])
    return [cell for cell in notebooks.read(source).cells if cell.cell_type == "code"]


@pytest.fixture
def run(monkeypatch, house_style):
    """Run a recipe's code cells with other parameters, up to the one that contains `until`; return its names."""
    monkeypatch.chdir(ROOT / "notebooks" / "recipes")
    names = dict[str, Any]()

    def run(name, until=None, /, **parameters):
        names["__name__"] = name
        for cell in cells(name):
            exec(compile(cell.source, name, "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names.update(parameters)
            if until and until in cell.source:
                break
        return names

    yield run
    if "temporary" in names:
        names["temporary"].cleanup()


@pytest.mark.parametrize("recipe", PRINTED)
def test_one_cell_is_the_whole_recipe_in_its_order_and_nothing_of_ours(recipe):
    (cell,) = [c.source for c in cells(recipe) if "in range(10)" in c.source or ".compile" in c.source]
    places = [cell.find(words.strip()) for words in PRINTED[recipe].split(",")]
    assert -1 not in places and places == sorted(places)
    used = {node.id for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)}
    assert used.isdisjoint({"sft", "plot", "folder", "SEED"}) and ".eval" not in cell


@pytest.mark.slow
def test_keras_and_the_library_are_one_computation(run):
    names = run("keras_recipe", "apart < 1e-3")
    assert names["KERAS"], "the extra `keras` is not installed"
    assert names["changed"] == 0 and len(names["pairs"]) == 318
    assert len(names["printed"]) == 10 and names["printed"] == pytest.approx(names["ours"], abs=1e-4)
    assert names["STORED"] == pytest.approx(names["printed"], abs=0.01), "what is shown where there is no Keras"


@pytest.mark.slow
def test_pytorchs_and_the_library_are_one_computation(run):
    names = run("pytorch_recipe", "weight_decay=0")
    assert names["drifted"][-1] == pytest.approx(names["loss"].item(), abs=1e-5)
    assert names["apart"] < 1e-5 and len(names["losses"]) == 10
    assert (len(names["changed"]), len(names["before"])) == (159, 318)


# --- with ResNet-50, VGG-16 and CIFAR-10's own files


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of 350 images in its own format, where the lab looks for it; return its pixels."""
    monkeypatch.setenv("SFTLAB_DATA", str(tmp_path))
    (archive,) = install(monkeypatch, "cifar10", "https://nowhere.invalid/").files.values()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path / "torchvision", filter="data")
    return datasets.CIFAR10(tmp_path / "torchvision").data.transpose(0, 3, 1, 2)


def slim_vgg16(**_):
    """VGG-16 whose two wide layers are narrow: in full they take half a gigabyte, and a recipe holds five copies."""
    with torch.device("meta"):
        net = torchvision.models.VGG(nn.Identity())
    net.features = vgg.make_layers(vgg.cfgs["D"])
    net.classifier[0], net.classifier[3] = nn.Linear(512 * 49, 32), nn.Linear(32, 32)
    net.classifier[6] = nn.Linear(32, 1000)
    return net


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Files of random weights where torchvision's V1 of both networks would lie, their names ending with their hash."""
    folder, make = tmp_path / "hub" / "checkpoints", torchvision.models.get_model
    folder.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(
        torchvision.models, "get_model", lambda name, **how: slim_vgg16() if name == "vgg16" else make(name, **how)
    )
    for name in ("resnet50", "vgg16"):
        torch.save(torchvision.models.get_model(name).state_dict(), folder / "weights")
        file = f"{name}-{hashlib.sha256((folder / 'weights').read_bytes()).hexdigest()[:8]}.pth"
        (folder / "weights").rename(folder / file)
        chosen = torchvision.models.get_model_weights(name).IMAGENET1K_V1.value
        monkeypatch.setattr(chosen, "url", f"https://nowhere.invalid/{file}")


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "network"), [("pytorch_recipe", "vgg16"), ("keras_recipe", "resnet50")])
def test_the_recipes_run_on_the_printed_networks_and_images(recipe, network, cifar, shelf, run):
    names = run(recipe, BACKBONE=network, DATA="cifar10", LABELS=None, EPOCHS=1, SIZE=32)
    assert names["data"].classes[3] == "cat" and names["result"].n


def test_the_printed_transform_and_the_lab_agree_to_a_grey_level(cifar):
    printed = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()])
    data = sft.load("cifar10", size=256)
    theirs = torch.stack([printed(Image.fromarray(x.transpose(1, 2, 0))) for x in cifar[data.train.index[:8]]])
    ours = transforms.CenterCrop(224)(data.train.pixels(np.arange(8)))
    assert (theirs.int() - ours.int()).abs().max() <= 1


def test_keras_adam_is_adam_but_for_where_epsilon_stands():
    names = {"torch": torch, "nn": nn}
    (cell,) = [cell for cell in cells("keras_recipe") if "class KerasAdam" in cell.source]
    exec(cell.source, names)
    torch.manual_seed(0)
    start, gradients = torch.randn(20), torch.randn(5, 20)

    def walk(optimizer, steps):
        w = start.clone().requires_grad_()
        made = optimizer([w])
        for w.grad in gradients[:steps].clone():
            made.step()
        return w.detach()

    def keras(eps):
        return lambda w: names["KerasAdam"]([{"params": w, "lr": 0.01}], eps)

    def torchs(eps):
        return lambda w: torch.optim.Adam(w, lr=0.01, eps=eps)

    assert torch.allclose(walk(keras(0.0), 5), walk(torchs(0.0), 5), atol=1e-6)
    assert torch.allclose(walk(keras(0.1), 1), walk(torchs(0.1 / (1 - 0.999) ** 0.5), 1), atol=1e-6)
    assert not torch.allclose(walk(keras(0.1), 1), walk(torchs(0.1), 1), atol=1e-4)
