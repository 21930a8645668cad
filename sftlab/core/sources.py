"""What a run reads: images, augmented views of them, or what the frozen part makes of either."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

import torch
from torch import nn

from sftlab.core import cache, encoders
from sftlab.core.loop import Batches, Source
from sftlab.core.settings import Settings
from sftlab.data import Augment, Data, Split, View

Say = Callable[[str], None]


class Stopped(Exception):
    """Stop was pressed while the frozen part was being encoded."""


def sources(model: nn.Sequential, data: Data, s: Settings, stop: Event | None, say: Say) -> tuple[Source, Source, int]:
    """Return what delivers training and validation batches, and how many leading stages they have behind them."""
    cut = cache.worthwhile(model) if s.cached and (s.augment is None or s.views) else 0
    parts: list[Split | View] = [data.train]
    if s.augment is not None and s.views:
        parts = [View(data.train, s.augment, s.seed, number) for number in range(s.views)]
    parts.append(data.valid)
    if cut:
        try:
            *train, valid = _encoded(model, cut, parts, s.encoder, stop, say)
            return InTurn(train), valid, cut
        except cache.NoRoom as error:
            say(f"{error}. Until then the frozen part runs in every epoch.")
    if s.augment is not None and not s.views:
        return Augmented(data.train, s.augment), data.valid, 0
    return InTurn(parts[:-1]), data.valid, 0


def _encoded(
    model: nn.Sequential, cut: int, parts: Sequence[Split | View], encoder: str, stop: Event | None, say: Say
) -> list[cache.Features]:
    """Run the frozen part once over what the store does not have, and say what it costs before and after."""
    prefix = cache.Prefix(model[:cut], parts[0].size, encoder=encoder)
    names, noun = [name for name, _ in model.named_children()], parts[0].noun
    todo, batches, clock = sum(prefix.missing(part) for part in parts), 0, 0.0

    def progress(now: int, total: int) -> None:
        nonlocal batches, clock
        if stop is not None and stop.is_set():
            raise Stopped
        batches += 1
        if batches == 2:  # the first one also prepared the kernels, so the second one is the clock
            left = (time.perf_counter() - clock) / encoders.BATCH * (todo - now)
            if left > 2:
                price = todo * prefix.weight / 1e6
                say(f"running the frozen part once on {todo} {noun}, about {left:.0f} s and {price:.1f} MB …")
        clock = time.perf_counter()

    made = [prefix.features(part, progress, images=todo) for part in parts]
    new, saved = sum(f.seconds for f in made if not f.reused), sum(f.seconds for f in made)
    counted = noun[:-1] if todo == 1 else noun
    how = f"{todo} {counted} encoded once in {new:.1f} s" if todo else f"found on disk, {saved:.1f} s of work saved"
    if start := min((f.start for f in made if not f.reused), default=0):
        how += f", the work up to {names[start - 1]} found on disk"
    here = torch.get_num_threads()
    if others := sorted({n for f in made for n in f.threads} - {here}):
        how += f", with {' and '.join(map(str, others))} thread{'s' * (others != [1])}, here {here}"
    say(f"frozen {names[0]} … {names[cut - 1]}: {how} ({sum(f.bytes for f in made) / 1e6:.1f} MB)")
    return made


@dataclass(frozen=True)
class InTurn:
    """Views of the training images, an epoch each, then from the first again."""

    views: Sequence[Source]

    def __len__(self) -> int:
        return len(self.views[0])

    def batches(self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0) -> Batches:
        """Iterate over (images or features, targets) of the view whose turn it is."""
        return self.views[epoch % len(self.views)].batches(batch_size, seed=seed, epoch=epoch)


@dataclass(frozen=True)
class Augmented:
    """The training split with an augmentation drawn anew at each step; valid and test never get one."""

    split: Split
    augment: Augment

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, batch_size: int = 32, *, seed: int | None = None, epoch: int = 0) -> Batches:
        """Iterate over (augmented uint8 images, targets)."""
        return self.split.batches(batch_size, seed=seed, epoch=epoch, augment=self.augment)
