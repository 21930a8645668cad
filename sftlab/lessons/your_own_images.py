"""Lesson 10, Your own images: what its report says first, and the checks of its exercises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from sftlab.analysis.decisions import skill
from sftlab.core.evaluation import predict_split
from sftlab.core.records import History, Result
from sftlab.data import Data
from sftlab.lessons.checks import Wrong, check, expect
from sftlab.plot import base

ASKED = 500  # training images that are asked about, to compare with the validation images
MOST = 12  # classes in the table, the least recognised first
SERIES = 12  # pairs of almost identical images in two splits that do harm
GAP, LOW, WIDE = 0.1, 0.85, 0.1  # train above valid by so much; too low an accuracy; half of too wide an interval


def summary(
    data: Data,
    model: nn.Sequential,
    history: History,
    result: Result,
    looked: Sequence[Mapping[str, Any]] = (),
    *,
    strategy: str,
    again: Sequence[float] = (),
) -> str:
    """Return a page of Markdown: what was asked, the answer against chance, what to look at, what to do next.

    looked: what the checks found, {"why", "file", …} each. strategy: what was trained. again: results of other splits.
    """
    names, counts, shown = result.classes, data.card.counts, result.per_class
    total, note = sum(sum(count.values()) for count in counts.values()), result.settings.get("note", "")
    some = ", ".join(map(code, names[: MOST // 2])) + ", …" * (len(names) > MOST // 2)
    lines = [
        f"# Result: {base.percent(result.accuracy.value)} of the test images are answered rightly",
        f"**Asked.** Which of {len(names)} classes ({some}) does an image show? {total:,} {data.card.noun} of "
        f"{code(data.card.name)} ({data.card.size}); strategy: {strategy}. Split: {data.card.split}. "
        f"{note[:1].upper()}{note[1:]}",
        f"**Answer.** {base.interval(result.accuracy)} of {result.n} test images"
        + ", with the 95 % interval" * (not result.accuracy.why)
        + f"; always {code(result.majority_class)} would be right for {base.percent(result.majority)}. {skill(result)}"
        + (f" A probe on {len(again)} other splits: {min(again):.3f} to {max(again):.3f}." if again else ""),
        "| class | to train | to test | recall: found | precision: rightly so called |\n|---|---|---|---|---|",
    ]
    for name in sorted(shown, key=lambda name: shown[name]["recall"].value)[:MOST]:
        scores = [base.interval(shown[name][kind]) if counts["test"][name] else "–" for kind in ("recall", "precision")]
        lines[-1] += f"\n| {code(name)} | {counts['train'][name]} | {counts['test'][name]} | {' | '.join(scores)} |"
    lines += ["**Look at** (all of them are in `look_at.csv`, beside this page if it was kept):\n"]
    found: dict[str, list[str]] = {}
    for row in looked:
        found.setdefault(row["why"], []).append(row["file"])
    found |= {"left out (unreadable, or conflicting)": [*data.card.skipped]} if data.card.skipped else {}
    lines[-1] += "".join(
        f"\n- {why}: {len(f)} ({', '.join(map(code, f[:3]))}{' …' * (len(f) > 3)})" for why, f in found.items()
    )
    train = data.train.subset(np.random.default_rng(0).permutation(len(data.train))[:ASKED])
    learned = float((predict_split(model, train).argmax(axis=1) == np.asarray(train.y)).mean())
    series = len(found.get("almost the same picture in two splits", ()))
    first = f"{series} pairs are almost the same, so the number is probably too good: run it with GROUPS (check 2)."
    after = [first] * (series >= SERIES) + advice(result, history, strategy, learned, len(data.valid))
    lines += ["**Next.**\n" + "".join(f"\n- {line}" for line in after)]
    return "\n\n".join(lines)


def advice(result: Result, history: History, strategy: str, learned: float, seen: int) -> list[str]:
    """Return what to do next, the most pressing first.

    learned: accuracy on images that were learned from. seen: validation images; a gap within their noise is none.
    """
    valid, lines = history.kept.valid_accuracy, []
    both = f"{base.percent(learned, 0)} of training images, {base.percent(valid, 0)} of validation images"
    half = (result.accuracy.high - result.accuracy.low) / 2
    if "not shown" in skill(result):
        lines.append(
            "Skill is not shown: look whether you can see the difference (check 1), and add photographs. What a "
            "network without skill doubts says nothing about the labels."
        )
    if learned > LOW and learned - valid > max(GAP, seen**-0.5):
        lines.append(
            f"Learned better than it generalises ({both}): add different photographs, above all of the classes that "
            "are recognised least; a smaller BACKBONE, STRATEGY `probe` or fewer EPOCHS learn less by heart."
        )
    elif valid < LOW:
        other = "STRATEGY `partial`" if strategy == "probe" else "another BACKBONE"
        lines.append(
            f"Not yet good ({both}): try a larger SIZE if the files hold it, or {other}; correct labels (check 4)."
        )
    if result.accuracy.why:
        lines.append("How sure the number is cannot be said from so few: test on more photographs, or on more groups.")
    elif half > WIDE + 0.005:  # as it is printed
        lines.append(
            f"The interval is ± {100 * half:.0f} points: {(half / WIDE) ** 2:.1f} times the test images would make it "
            "± 10."
        )
    if strategy != "probe" and history.best == 0:
        lines.append("Fine-tuning did not help on the validation images: STRATEGY `probe` gives the same in less time.")
    if not lines:
        lines.append("Nothing here speaks against using it: `sftlab predict model.safetensors new_photos/`.")
    return [*lines, "Before you rely on it: measure it once more, on photographs that are taken after today."]


def code(text: str) -> str:
    """Return a name as Markdown's code, which leaves every sign in it as it is, in a table too."""
    return f"`{text.replace('`', 'ˋ').replace('|', '¦')}`"


# the checks of its exercises


@check
def pairs_across(pairs: float) -> str:
    """Check how many pairs of cells are almost the same across the splits of the random split."""
    # 104 to 106 at 64 to 128 pixels
    mistakes = {
        0.0: "That is the number for the split by modules; the data in the cell have to change.",
        10: "That is the number for the library's own threshold; the one of the cell was to stay.",
    }
    expect(pairs, 105, 4, mistakes)
    return f"{pairs} pairs across the splits of the random split, none where whole modules were kept together."


@check
def keeps_right_answers(limit: Any) -> str:
    """Check a limit on the largest probability by the share of right answers that it keeps, on three draws."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        p = rng.dirichlet(np.full(4, 0.3), 800)
        y = rng.multinomial(1, p).argmax(1)
        keep = 0.9 + seed / 40
        stays = p.max(1) >= limit(p, y, keep)
        kept = stays[p.argmax(1) == y].mean()
        if abs(kept - keep) > 0.01:
            both = abs(stays.mean() - keep) < 0.01
            why = "Wrong ones were counted too." if both else "Which side of the limit stays?"
            raise Wrong(f"It keeps {kept:.1%} of the right answers, not {keep:.1%}. {why}")
    return "The shares of right answers that were asked for stay, within a point, on three draws of 800 images."


@check
def finds_planted(doubts: Any) -> str:
    """Check a detector of wrong labels: of 600 digits 30 have got another label, three times."""
    from sklearn.datasets import load_digits
    from sklearn.utils import shuffle

    for seed in range(3):
        pixels, y = shuffle(*load_digits(return_X_y=True), random_state=seed, n_samples=600)
        rows = range(seed, 570, 19)
        y[rows] = (y[rows] + 1 + seed) % 10
        named = {*map(int, doubts(pixels, y))}
        found = len(named & {*rows})
        if len(named) > 150:
            raise Wrong(f"It doubts {len(named)} of 600 labels. Nobody looks at so many pictures.")
        if found < 25:
            why = "The judge knows the labels by heart." if found < 5 else "Is each image judged by somebody else?"
            raise Wrong(f"It finds {found} of 30 wrong labels. {why}")
    return "It finds at least 25 of 30 wrong labels among 600, three times, and few others."
