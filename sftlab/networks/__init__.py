"""Pretrained networks as flat lists of named stages: `input`, `stem`, `layer1` …, `pool`, `head`.

A leaf room. One short adapter a family says which original modules make up which stage; the same table is used to
build the staged network and to export its weights under their original names.
"""

from sftlab.networks.catalogue import backbone, backbones, imagenet_classes
from sftlab.networks.staging import Input, original_state_dict, stages

__all__ = ["Input", "backbone", "backbones", "imagenet_classes", "original_state_dict", "stages"]
