"""sftlab: a lab for supervised fine-tuning of pretrained networks.

import sftlab as sft
data = sft.load("solar", size=160)
model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes)
sft.fit(model, data, sft.linear_probe(model))
sft.evaluate(model, data.test)
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # editors and type checkers read this, and so do the lines below
    from sftlab import analysis, core, data, deploy, lessons, networks, plot, runs, widgets
    from sftlab.analysis import labels
    from sftlab.analysis.cost import feature_cost, summary
    from sftlab.core import monitors, records
    from sftlab.core.evaluation import evaluate, predict_split
    from sftlab.core.features import features
    from sftlab.core.loop import steps
    from sftlab.core.losses import cross_entropy, l2_sp
    from sftlab.core.lr_search import find_lr, lr_sweep
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
    from sftlab.plot import style
    from sftlab.runs.parameters import check_parameters
    from sftlab.runs.results import load_runs
else:
    _PLACES = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("sftlab")
        for alias in node.names
    }
    __all__ = sorted(_PLACES)

    def __getattr__(name: str) -> Any:
        """Do the import above that brings a name when it is first asked for (PEP 562): torch takes seconds."""
        if name not in _PLACES:
            raise AttributeError(f"module 'sftlab' has no attribute {name!r}")
        if _PLACES[name] == "sftlab":
            return import_module(f"sftlab.{name}")
        globals()[name] = getattr(__import__(_PLACES[name], fromlist=[name]), name)
        return globals()[name]

    def __dir__() -> list[str]:
        """Say what Tab offers."""
        return [*globals(), *__all__]
