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
from sftlab.analysis.cost import feature_cost, summary
from sftlab.analysis.explain import interpolate
from sftlab.core import monitors, records
from sftlab.core.evaluation import evaluate, predict_split
from sftlab.core.features import features
from sftlab.core.loop import steps
from sftlab.core.losses import cross_entropy, l2_sp
from sftlab.core.lr_search import LRFinder, LRSweep, find_lr, lr_sweep
from sftlab.core.model import (
    card,
    evaluating,
    fingerprint,
    frozen_prefix,
    replace_head,
    stage_names,
    train_mode,
)
from sftlab.core.profiles import (
    apply,
    constant,
    cosine,
    full,
    last_k,
    layer_decay,
    linear,
    linear_probe,
    param_groups,
    surgical,
    warmup_cosine,
)
from sftlab.core.records import Epoch, History, Interval, Result, Step
from sftlab.core.statistics import proportion, wilson
from sftlab.core.training import fit, train
from sftlab.data import from_arrays, from_dataset, from_texts, load
from sftlab.data.label_fixes import corrected
from sftlab.deploy.export import export
from sftlab.deploy.predict import predict
from sftlab.deploy.reject import RejectOption, choose_reject_option
from sftlab.deploy.save import load_model, load_reject_option, save
from sftlab.networks import Input, backbone, backbones, imagenet_classes, stages
from sftlab.runs.parameters import check_parameters

__version__ = "0.1.0"

__all__ = [
    "Epoch",
    "History",
    "Input",
    "Interval",
    "LRFinder",
    "LRSweep",
    "RejectOption",
    "Result",
    "Step",
    "apply",
    "backbone",
    "backbones",
    "card",
    "check_parameters",
    "choose_reject_option",
    "constant",
    "corrected",
    "cosine",
    "cross_entropy",
    "data",
    "evaluate",
    "evaluating",
    "export",
    "feature_cost",
    "features",
    "find_lr",
    "fingerprint",
    "fit",
    "from_arrays",
    "from_dataset",
    "from_texts",
    "frozen_prefix",
    "full",
    "imagenet_classes",
    "interpolate",
    "l2_sp",
    "labels",
    "last_k",
    "layer_decay",
    "linear",
    "linear_probe",
    "load",
    "load_model",
    "load_reject_option",
    "lr_sweep",
    "monitors",
    "param_groups",
    "predict",
    "predict_split",
    "proportion",
    "records",
    "replace_head",
    "save",
    "stage_names",
    "stages",
    "steps",
    "summary",
    "surgical",
    "train",
    "train_mode",
    "warmup_cosine",
    "wilson",
]


def __getattr__(name: str) -> Any:
    """Load the rooms that draw or run notebooks when they are first named: they bring heavy libraries along."""
    if name in ("analysis", "lessons", "plot", "widgets"):
        return import_module(f"sftlab.{name}")
    if name == "style":
        return import_module("sftlab.plot.style")
    if name == "load_runs":
        return import_module("sftlab.runs.results").load_runs
    raise AttributeError(f"module 'sftlab' has no attribute {name!r}")
