"""Look into a network: which features suit a task."""

from sftlab.analysis.drift import Drift, answers, drift, moved, photo_crops
from sftlab.analysis.gallery import Gallery, gallery, images_per_second, macs
from sftlab.analysis.tasks import task_gradients
from sftlab.analysis.transferability import logme, probed, tapped

__all__ = [
    "Drift", "Gallery", "answers", "drift", "gallery", "images_per_second", "logme", "macs", "moved", "photo_crops",
    "probed", "tapped", "task_gradients",
]  # fmt: skip
