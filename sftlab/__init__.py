"""sftlab: a lab for supervised fine-tuning of pretrained networks.

import sftlab as sft
data = sft.load("solar", size=160)
model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes)
sft.fit(model, data, sft.linear_probe(model))
sft.evaluate(model, data.test)
"""

from importlib import import_module
from typing import Any

from sftlab import data
from sftlab.analysis import labels
from sftlab.analysis.prices import cuts
from sftlab.core import cache, losses, monitors, profiles, records, schedules, surgery
from sftlab.core.anchors import toward_start
from sftlab.core.evaluation import evaluate, wilson
from sftlab.core.heads import Sweep, every_rate
from sftlab.core.loop import steps
from sftlab.core.losses import cross_entropy
from sftlab.core.lr_finder import LRFinder, find_lr
from sftlab.core.profiles import apply, full, last_k, layer_decay, linear_probe, param_groups, surgical
from sftlab.core.records import Epoch, History, Interval, Result, Step
from sftlab.core.schedules import constant, cosine, linear, piecewise, warmup_cosine
from sftlab.core.summary import summary
from sftlab.core.surgery import card, fingerprint, frozen_prefix, interpolate, replace_head, train_mode
from sftlab.core.training import fit, train
from sftlab.data import from_arrays, from_dataset, from_texts, load
from sftlab.data.corrections import corrected
from sftlab.deploy.exporting import export
from sftlab.deploy.predicting import predict
from sftlab.deploy.refusing import Refusal, choose_refusal
from sftlab.deploy.saving import load_model, load_refusal, save
from sftlab.networks import Input, backbone, backbones, imagenet_classes, stages
from sftlab.runs.parameters import check_parameters

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
    if name in ("analysis", "lessons", "plot", "widgets"):
        return import_module(f"sftlab.{name}")
    if name == "style":
        return import_module("sftlab.plot.style")
    if name == "load_runs":
        return import_module("sftlab.runs.results").load_runs
    raise AttributeError(f"module 'sftlab' has no attribute {name!r}")
