"""Lesson 02, Head: figures of how well a head reads after each stage and what it hands on; its exercises' checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from sftlab.core.model import fingerprint
from sftlab.lessons.checks import Wrong, apart, check, expect, moved_by_training
from sftlab.networks import backbone
from sftlab.plot import base, style

HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MOST, COLUMNS = 12, 4  # maps of a stage, and maps a row


def reading(
    scores: Mapping[str, Any],
    *,
    majority: Any,
    widths: Mapping[str, int],
    at: str | None = None,
    x: Any = None,
    licence: str = "",
) -> Figure:
    """Draw the valid accuracy of a head after each stage of several such curves; with `at` of one, beside its maps.

    scores: {stage: Interval}, stem first, and its majority rate; without `at` both by the name of the curve. widths:
    how many numbers an image each stage hands on. x: C×H×W, what stage `at` makes of one image; licence: of that image.
    """
    figure = Figure(figsize=(8.2, 3.6) if at is None else (9.6, 3.7), layout="constrained")
    if at is None:
        _together(figure.subplots(), scores, majority)
    else:
        left, right = figure.subplots(1, 2, width_ratios=[1, 2.1])
        maps(x, at, licence=licence, ax=left)
        _alone(right, scores, majority, widths, at)
    return figure


def _alone(ax: Any, scores: Mapping[str, Any], majority: float, widths: Mapping[str, int], at: str) -> None:
    """Draw one curve over the stages with its intervals, the others than `at` pale, and the majority rate dashed."""
    ax.plot([score.value for score in scores.values()], color="#C7D6E3", linewidth=1.5, zorder=1)
    for i, (stage, score) in enumerate(scores.items()):
        base.dot(ax, score, i, style.VALID if stage == at else "#A9C7DE", upright=True)
        if stage == at:
            text, top = f"{100 * score.value:.1f}", base.ends(score)[1]
            base.note(ax, text, (i, top), (0, 8), ha="center", color=style.INK, fontsize=9)
    base.majority_line(ax, majority)
    ax.margins(y=0.12)
    ax.set_xticks(range(len(scores)), [f"{stage}\n{widths[stage]}" for stage in scores])
    ax.tick_params(axis="x", length=0, labelsize=8.5)
    base.percent_axis(ax.yaxis)
    ax.grid(axis="y")
    end = len(scores) - 0.5
    ax.set(
        xlim=(-0.5, end), xlabel="stage the head reads and how many numbers it hands on", ylabel="valid accuracy (%)"
    )
    base.label_ends(ax, [(end, majority, "majority", style.INK)])
    every = ", ".join(f"{stage} {base.interval(score)}" for stage, score in scores.items())
    words = f"Valid accuracy by stage: {every}. Majority rate {base.percent(majority)}."
    base.title(ax, f"Head after {at}: {base.interval(scores[at])}", words)


def _together(ax: Any, curves: Mapping[str, Any], majority: Mapping[str, float]) -> None:
    """Draw several curves over the stages, each with its intervals and, dashed in its colour, its majority rate."""
    lost = []
    for i, (name, curve) in enumerate(curves.items()):
        value, low, high = (np.array([getattr(s, part) for s in curve.values()]) for part in ("value", "low", "high"))
        places, colour = np.arange(len(curve)) + 0.12 * (i - (len(curves) - 1) / 2), HUES[i % len(HUES)]
        ax.errorbar(places, value, (value - low, high - value), fmt="o-", color=colour, label=name)
        ax.axhline(majority[name], color=colour, linestyle="--", linewidth=1)
        if high[-1] < low[value.argmax()]:  # where the intervals meet, the title is silent
            lost.append(f"{100 * (value.max() - value[-1]):.0f} ({name})")
    ax.set_xticks(range(len(curve)), list(curve))
    ax.set(ylabel="valid accuracy (%)", xlabel="the head reads after (dashed: majority rates)", ylim=(None, 1.03))
    base.percent_axis(ax.yaxis)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    finding = "No curve is clearly lower at the last stage than at its best"
    if lost:
        finding = f"Points lost between the best stage and the last: {base.listed(lost)}"
    base.title(ax, finding, f"Each point with its interval, one curve each: {base.listed(list(curves))}.")


def maps(x: Any, name: str, *, licence: str = "", ax: Any = None) -> Any:
    """Draw the channels of one image at one stage that vary most, each in its own range of grey.

    x: C×H×W. name: of the stage. licence: of the picture they were made from.
    """
    values = np.asarray(x, dtype=float)
    channels, height, width = values.shape
    single = height * width == 1  # such a map varies over the channels only, so all of them share one range of grey
    spread = values[:, 0, 0] if single else values.std(axis=(1, 2))
    chosen = values[np.sort(np.argsort(-spread, kind="stable")[:MOST])]
    shared = {"vmin": chosen.min(), "vmax": chosen.max()} if single else {}
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    ax = base.axes(ax, 1.3 * columns, 1.3 * rows + 0.5)
    for k, image in enumerate(chosen):
        left, top = k % columns, -(k // columns)
        ax.imshow(image, "gray", extent=(left, left + 0.88, top - 0.88, top), interpolation="nearest", **shared)
    ax.set(xlim=(0, columns), ylim=(-rows, 0))
    ax.set_axis_off()
    base.licence_line(ax, licence)
    shown = f"{len(chosen)} of {channels}" if len(chosen) < channels else f"{channels}"
    words = f"The {len(chosen)} channels that vary most over the picture, white is high."
    base.title(ax, f"{name}: {shown} maps, {height}×{width}", words)
    return ax


# the checks of its exercises


@check
def points_before_neck(points: float) -> str:
    """Check what a head after `layer4` gains over one after `neck` on digits of 64 pixels."""
    mistakes = {
        13.5: "That is for digits of 32 pixels. Asked is the same at 64.",
        -4: "The other way round: asked is what `layer4` has more than `neck`.",
    }
    expect(points, 4, 2, mistakes)  # 8 of 200 images; no randomness
    return "Of 13.5 points at 32 pixels about 4 are left, 8 of 200 images: it was mostly the size."


@check
def as_before_on_grey(for_grey: Callable[[nn.Conv2d], nn.Module]) -> str:
    """Check a convolution for one channel against that for three, on grey pictures."""
    for stride in (1, 2, 3):
        torch.manual_seed(stride)
        conv, x = nn.Conv2d(3, 8, 5, stride, stride - 1, bias=stride > 1), torch.rand(2, 1, 16, 16)
        right = conv(x.expand(-1, 3, -1, -1))
        given = for_grey(conv)(x)
        if conv.weight.shape[1] != 3:
            raise Wrong("The old convolution has changed too; it should still take three channels.")
        third = "It answers with a third: a grey picture came in three times before, and now comes in once."
        expect(apart(given, right), 0, 1e-4, {2 / 3: third}, "On a grey picture its answer is another one than before.")
    return "On grey pictures three convolutions answer as before, with a third of the weights."


@check
def leaves_the_old_one(with_head: Callable[[nn.Module, int], Any]) -> str:
    """Check that a network is as it was after its copy got a head and was trained, three times."""
    model = backbone("efficientnet_lite0")
    before = fingerprint(model)
    for classes in (2, 3, 10):
        torch.manual_seed(classes)
        edited = with_head(model, classes)
        if edited.head.out_features != classes or edited is model:
            raise Wrong(f"Asked were two networks: the old one, and one with a head for {classes} classes.")
        if fingerprint(edited[:-1]) != fingerprint(model[:-1]):
            raise Wrong("The stages before the head have lost what they learned from ImageNet.")
        moved_by_training(edited, torch.optim.SGD(edited.parameters(), lr=0.1))
        if fingerprint(model) != before:
            raise Wrong("After one step of the new network the old one has changed: they share stages.")
    return "The new network was trained, and the old one has the same fingerprint as before."
