"""What answers: a network with its limits, from uint8 pixels to probabilities, "neither", or an error in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.core.model import card, evaluating
from sftlab.deploy import cards
from sftlab.deploy.refusing import Refusal, distances

NEITHER = "neither"


@dataclass(frozen=True)
class Prediction:
    """What the model says of one photograph; `probabilities` maps each class to its probability.

    label: the likeliest class. distance: how far the photograph is from the training images, if the model can tell.
    refused: why the answer is "neither" all the same. error: why the file could not be read; all else is then empty.
    """

    file: str
    label: str
    probabilities: dict[str, float]
    error: str = ""
    distance: float | None = None
    refused: str = ""

    @property
    def confidence(self) -> float:
        """Probability of the most likely class."""
        return max(self.probabilities.values(), default=0.0)

    @property
    def answer(self) -> str:
        """The label, or "neither" where it is refused; empty for a file that could not be read."""
        return NEITHER if self.refused else self.label


class Answers(nn.Module):
    """uint8 N×C×H×W → (probabilities N×classes, distance N); without features to compare with, probabilities alone.

    A plain module, so that torch and a runtime of exported graphs compute the same answers.
    """

    known: Tensor | None

    def __init__(self, model: nn.Sequential, refusal: Refusal | None = None) -> None:
        super().__init__()
        self.features, self.head = model[:-1], model[-1]
        rows = None if refusal is None or refusal.known is None else refusal.known.float()
        self.register_buffer("known", None if rows is None else rows.to(next(model.parameters()).device))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities and, where there is something to compare with, distances."""
        f = self.features(x)
        p = self.head(f).softmax(dim=1)
        return (p,) if self.known is None else (p, distances(f, self.known))


@dataclass(frozen=True)
class Answerer:
    """Something that answers, from torch or from an exported graph.

    ask: uint8 N×3×size×size → (probabilities N×classes,) or (probabilities, distances N). refusal: its limits, if any.
    """

    ask: Callable[[Tensor], tuple[np.ndarray, ...]]
    classes: list[str]
    size: int
    refusal: Refusal | None = None

    def answers(self, names: Sequence[str], x: Tensor) -> list[Prediction]:
        """Answer for N images, uint8 N×3×size×size, which go by these names."""
        p, *rest = self.ask(x)
        far = rest[0].tolist() if rest else [None] * len(p)
        found = []
        for name, row, distance in zip(names, p.tolist(), far, strict=True):
            why = self.refusal.reason(max(row), distance) if self.refusal is not None else ""
            label = self.classes[row.index(max(row))]
            found.append(Prediction(name, label, dict(zip(self.classes, row, strict=True)), "", distance, why))
        return found


def of_network(model: nn.Sequential, *, size: int | None = None, refusal: Refusal | None = None) -> Answerer:
    """Make an Answerer of a network in memory. Raises ValueError if its card names no single list of classes."""
    facts, classes = card(model), card(model).get("classes")
    if not isinstance(classes, list):
        raise ValueError(
            "this model's card names no single list of classes; use replace_head(model, class names) before training"
        )
    network, device = Answers(model, refusal), next(model.parameters()).device

    def ask(x: Tensor) -> tuple[np.ndarray, ...]:
        with evaluating(network), torch.no_grad():
            return tuple(t.cpu().numpy() for t in network(x.to(device)))

    return Answerer(ask, classes, size or cards.edge(facts), refusal)
