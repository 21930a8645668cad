"""sftlab: a lab for supervised fine-tuning of pretrained networks.

import sftlab as sft
data = sft.load("solar", size=160)
model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes)
sft.fit(model, data, sft.linear_probe(model))
sft.evaluate(model, data.test)
"""

from importlib import import_module
from typing import Any

from sftlab import cache, data, labels, losses, monitors, profiles, records, schedules, surgery
from sftlab.anchors import toward_start
from sftlab.backbones import Input, backbone, backbones, imagenet_classes, stages
from sftlab.data import from_arrays, from_dataset, from_texts, load
from sftlab.data.corrections import corrected
from sftlab.evaluation import evaluate, wilson
from sftlab.exporting import export
from sftlab.heads import Sweep, every_rate
from sftlab.loop import steps
from sftlab.losses import cross_entropy
from sftlab.lr_finder import LRFinder, find_lr
from sftlab.parameters import check_parameters
from sftlab.predicting import predict
from sftlab.prices import cuts
from sftlab.profiles import apply, full, last_k, layer_decay, linear_probe, param_groups, surgical
from sftlab.records import Epoch, History, Interval, Result, Step
from sftlab.refusing import Refusal, choose_refusal
from sftlab.saving import load_model, load_refusal, save
from sftlab.schedules import constant, cosine, linear, piecewise, warmup_cosine
from sftlab.summary import summary
from sftlab.surgery import card, fingerprint, frozen_prefix, interpolate, replace_head, train_mode
from sftlab.training import fit, train

__version__ = "0.1.0"

__all__ = [
    "Epoch", "History", "Input", "Interval", "LRFinder", "Refusal", "Result", "Step", "Sweep", "apply", "backbone",
    "backbones", "cache", "card", "check_parameters", "choose_refusal", "constant", "corrected", "cosine",
    "cross_entropy", "cuts", "data", "evaluate", "every_rate", "export", "find_lr", "fingerprint", "fit",
    "from_arrays", "from_dataset", "from_texts", "frozen_prefix", "full", "imagenet_classes", "interpolate", "labels",
    "last_k", "layer_decay", "linear", "linear_probe", "load", "load_model", "load_refusal", "losses", "monitors",
    "param_groups", "piecewise", "predict", "profiles", "records", "replace_head", "save", "schedules", "stages",
    "steps", "summary", "surgery", "surgical", "toward_start", "train", "train_mode", "warmup_cosine", "wilson",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load the rooms that draw or run notebooks when they are first named: they bring heavy libraries along."""
    if name in ("plot", "style", "widgets", "explain", "experiments", "sweeping"):
        return import_module(f"sftlab.{name}")
    if name == "load_runs":
        return import_module("sftlab.runs").load_runs
    raise AttributeError(f"module 'sftlab' has no attribute {name!r}")
