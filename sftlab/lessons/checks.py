"""What checks an exercise: it says in words whether an answer is right, never raises, and notes what is solved.

@check
def stable(cross_entropy):
    if not torch.isfinite(cross_entropy(1e4 * logits, y)):
        raise Wrong("With logits of 10,000 your loss is not finite.")
    return "It is finite at logits of 10,000."
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sftlab.core.model import fingerprint
from sftlab.data.storage import replacing

PROGRESS = "progress.json"  # beside a learner's exercises; where there is none, nothing is noted
OTHER = "{:.4g} is not the number that comes out here; run the cell again, with what is asked."
STUB = (lambda: None).__code__.co_code  # what a function with nothing but `...` in it compiles to


class Wrong(Exception):
    """What is wrong with an answer, in a sentence that does not give the right one away."""


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and the sentence that says so; true if it is."""

    right: bool
    sentence: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'✓' if self.right else '✗'} {self.sentence}"


def check(judge: Callable[..., str]) -> Callable[..., Verdict]:
    """Turn a function that returns praise or raises `Wrong` into one that always returns a `Verdict`.

    An answer that is still `...`, or a function with no more than that in it, is not judged. Torch's random numbers
    go on afterwards as if nothing had been checked.
    """

    @wraps(judge)
    def verdict(*answers: Any) -> Verdict:
        if any(map(_blank, answers)):
            return Verdict(False, "Not yet: the cell above still has its three dots.")
        try:
            with torch.random.fork_rng():
                answer = Verdict(True, judge(*answers))
        except Wrong as wrong:
            answer = Verdict(False, str(wrong))
        except Exception as error:  # whatever the learner's code raises
            answer = Verdict(False, f"Your code stopped with {type(error).__name__}: {error}")
        _note(judge.__module__.rpartition(".")[2], judge.__name__, answer.right)
        return answer

    return verdict


def expect(answer: Any, right: Any, within: float, mistakes: Mapping[Any, str], otherwise: str = OTHER) -> None:
    """Raise Wrong unless a number is right; what comes of a common mistake gets the sentence of that mistake."""
    try:
        format(answer - right, "g")  # a text, a list, a tensor of several values has no such form
    except TypeError:
        raise Wrong(f"Asked is a number; this is of type {type(answer).__name__}.") from None
    if abs(answer - right) <= within:
        return
    for value, sentence in mistakes.items():
        if abs(answer - value) <= within:
            raise Wrong(sentence)
    raise Wrong(otherwise.format(answer))


def apart(answer: Tensor, right: Tensor) -> float:
    """Return how far an answer is from the right one, as a share of its size: 0 if they are equal."""
    return ((answer - right).norm() / right.norm()).item()


def _blank(answer: Any) -> bool:
    code = getattr(answer, "__code__", None)
    return answer is ... or (code is not None and code.co_code == STUB)


def _note(lesson: str, name: str, right: bool) -> None:
    path = Path(PROGRESS)
    try:
        solved = json.loads(path.read_text(encoding="utf-8"))
        names = solved.setdefault(lesson, {})
        names[name] = right or names.get(name, False)
        with replacing(path) as partial:
            partial.write_text(json.dumps(solved, indent=1), encoding="utf-8")
    except (OSError, ValueError):  # not a learner's folder, or one that can only be read: the verdict counts
        return


def progress() -> str:
    """Say which exercises have been answered in a learner's folder, as the first lesson shows it."""
    try:
        solved = json.loads(Path("exercises", PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        solved = {}
    counts = "; ".join(f"{lesson}: {sum(names.values())} of 3" for lesson, names in sorted(solved.items()))
    return f"Exercises answered so far: {counts or 'none'}"


def moved_by_training(model: nn.Sequential, optimizer: torch.optim.Optimizer, epochs: int = 0) -> list[str]:
    """Train on random images and return which stages store something else afterwards.

    epochs: of three batches each, in train mode; 0 is one step in eval mode, where only what learns changes.
    """
    before = fingerprint(model)
    for step in range(3 * epochs or 1):
        if step % 3 == 0:
            model.train(epochs > 0)
        optimizer.zero_grad()
        x = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
        nn.functional.cross_entropy(model(x), torch.arange(4) % 2).backward()
        optimizer.step()
    return [name for name, mark in fingerprint(model).items() if mark != before[name]]
