"""What the lab knows of torchvision's sets: how to open each, what to fetch and from where, what its card says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftlab.data.remote import RemoteFile, data_dir


@dataclass(frozen=True)
class Downloaded:
    """A set of torchvision.

    cls: the class's name in torchvision.datasets. folder: where it looks for its files, below its root. files: their
    names, each with the md5 that torchvision states. bases: the addresses they lie at. megabytes: of all files,
    packed. parts: constructor arguments for train, (valid,) test; one if the set has no splits. edge: the size in
    which all its images come; None for photographs of many sizes.
    """

    cls: str
    folder: str
    files: Mapping[str, str]
    bases: Sequence[str]
    megabytes: int
    parts: tuple[dict[str, Any], ...]
    edge: int | None
    rule: str
    licence: str
    citation: str
    notes: tuple[str, ...] = ()

    def remote(self, name: str) -> tuple[RemoteFile, ...]:
        """Return the files to fetch; name: what `load` calls this set."""
        place = "/".join(word for word in ("torchvision", self.folder) if word)
        return tuple(
            RemoteFile(name, f"{place}/{file}", tuple(base + file for base in self.bases), f"md5:{md5}", self.licence)
            for file, md5 in self.files.items()
        )


def root() -> Path:
    """Return the folder that torchvision calls root."""
    return data_dir() / "torchvision"


_TRAIN_TEST: tuple[dict[str, Any], ...] = ({"train": True}, {"train": False})
_THREE: tuple[dict[str, Any], ...] = ({"split": "train"}, {"split": "val"}, {"split": "test"})
_FROM_THE_WEB = "none stated by its authors; photographs from the web, of many owners: for research and teaching"
_TORONTO = ("https://www.cs.toronto.edu/~kriz/",)
_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/"
_KRIZHEVSKY = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images, University of Toronto"
_SMALL = "Images of 32×32 pixels, enlarged for a network that was trained on 224×224."

TORCHVISION = {
    "cifar10": Downloaded(
        "CIFAR10", "", {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"}, _TORONTO, 170, _TRAIN_TEST, 32,
        "what the photograph shows, by paid students", _FROM_THE_WEB, _KRIZHEVSKY, (_SMALL,),
    ),
    "cifar100": Downloaded(
        "CIFAR100", "", {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"}, _TORONTO, 169, _TRAIN_TEST, 32,
        "what the photograph shows, by paid students (the 100 fine classes)",
        _FROM_THE_WEB, _KRIZHEVSKY, (_SMALL,),
    ),
    "flowers102": Downloaded(
        "Flowers102", "flowers-102",
        {
            "102flowers.tgz": "52808999861908f626f3c1f4e79d11fa",
            "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
            "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
        },
        (_OXFORD + "flowers/102/",), 345, _THREE, None, "the species of the flower", _FROM_THE_WEB,
        "Nilsback and Zisserman 2008, Automated Flower Classification over a Large Number of Classes, ICVGIP",
        ("Ten training images a class, and a test set six times as large as train: so its authors made it.",),
    ),
    "pets": Downloaded(
        "OxfordIIITPet", "oxford-iiit-pet",
        {
            "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
            "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
        },
        (_OXFORD + "pets/data/",), 811, ({"split": "trainval"}, {"split": "test"}), None,
        "the breed of the cat or dog",
        "CC BY-SA 4.0 as its authors state; the photographs belong to their owners",
        "Parkhi, Vedaldi, Zisserman and Jawahar 2012, Cats and Dogs, CVPR",
        ("ImageNet has many of these breeds: a pretrained network has met such dogs before.",),
    ),
    "eurosat": Downloaded(
        "EuroSAT", "eurosat", {"EuroSAT.zip": "c8fa014336c82ac7804f0398fcb19387"},
        (
            "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/",
        ), 94, ({},), 64,
        "land use in a Sentinel-2 image of 640×640 metres",
        "MIT as its authors state; the images contain modified Copernicus Sentinel data",
        "Helber, Bischke, Dengel and Borth 2019, EuroSAT, IEEE JSTARS 12(7), doi:10.1109/JSTARS.2019.2918242",
        ("It has no split of its own. Patches of one scene fall into different splits, which flatters.",),
    ),
    "dtd": Downloaded(
        "DTD", "dtd", {"dtd-r1.0.1.tar.gz": "fff73e5086ae6bdbea199a49dfb8a4c1"}, (_OXFORD + "dtd/download/",), 625,
        _THREE, None, "the word that describes the texture best",
        "for research purposes, as its authors state; photographs from the web",
        "Cimpoi, Maji, Kokkinos, Mohamed and Vedaldi 2014, Describing Textures in the Wild, CVPR",
        ("The first of its ten published splits.",),
    ),
    "mnist": Downloaded(
        "MNIST", "MNIST/raw",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"), 12, _TRAIN_TEST, 28,
        "the digit that was written", "commonly distributed under CC BY-SA 3.0; derived from databases of NIST",
        "LeCun, Bottou, Bengio and Haffner 1998, Gradient-Based Learning Applied to Document Recognition, "
        "Proceedings of the IEEE 86(11), doi:10.1109/5.726791",
    ),
    "fashion_mnist": Downloaded(
        "FashionMNIST", "FashionMNIST/raw",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",), 31, _TRAIN_TEST, 28, "the kind of garment",
        "MIT", "Xiao, Rasul and Vollgraf 2017, Fashion-MNIST, arXiv:1708.07747",
    ),
}  # fmt: skip
