"""A model's card as a page of Markdown that a person reads beside the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MARK = "<!-- the card of a model, written by sftlab; it is in the model file as well -->"
UNKNOWN = "not stated"
MOST_CLASSES = 30


def beside(path: Path) -> Path:
    """Return where the page of a model file goes: cells.safetensors → cells.md, cells.onnx → cells.onnx.md.

    A page of somebody's own under that name is left alone: the card is then called NAME.card.md.
    """
    name = path.name.removesuffix(".safetensors")
    page = path.with_name(f"{name}.md")
    if page.is_file() and not page.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        return path.with_name(f"{name}.card.md")
    return page


def write(facts: Mapping[str, Any], path: Path) -> Path:
    """Write the page of the model file at `path` beside it; return the page's path."""
    page = beside(path)
    page.write_text(text(facts, path.name), encoding="utf-8")
    return page


def text(facts: Mapping[str, Any], file: str) -> str:
    """Return the card as Markdown. facts: what `cards.compose` made. file: the name of the model file."""
    parts = [
        [MARK, f"# {file.rsplit('.', 1)[0]}", "", opening(facts)],
        _section("Measured", list(_measured(facts))),
        _section("Use and limits", [limits(facts)]),
        _section("Input", list(_input(facts))),
        _section("Data", list(_data(facts))),
        _section("Network", list(_network(facts))),
        _section("Training", list(_training(facts))),
        _section("Also", [f"- {k}: {v}" for k, v in facts.get("notes", {}).items()]),
        _section("How to ask it", _how(facts, file)),
        _section("Made with", [", ".join(f"{k} {v}" for k, v in facts.get("versions", {}).items())]),
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def opening(facts: Mapping[str, Any]) -> str:
    """Say in one sentence what the model answers, and when it was saved."""
    classes = _classes(facts)
    told = f"It answers {classes}." if classes else "It has no classes of its own yet."
    return f"{told} Network: {facts.get('name', UNKNOWN)}. Saved {facts.get('saved', 'at an unknown date')}."


def limits(facts: Mapping[str, Any]) -> str:
    """Say what the model may be used for: in the author's words, else what follows from the data."""
    if facts.get("use"):
        return str(facts["use"])
    data = facts.get("data")
    if not data:
        return (
            "Neither the data it was trained on nor what it is for was given when it was saved, so nothing is known "
            "of how good its answers are: measure it on labelled pictures of your own first."
        )
    told = f"For pictures like those in *{data['name']}*, and no others: it was measured on those alone."
    if facts.get("refusal"):
        return f"{told} What its “neither” catches among other pictures was not measured: try those that you expect."
    return f"{told} It has no “neither”: to any picture whatever it answers one of its classes."


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if any(lines) else []


def _classes(facts: Mapping[str, Any]) -> str:
    classes = facts.get("classes") or []
    if isinstance(classes, Mapping):
        return "; ".join(f"{task}: {_listed(names)}" for task, names in classes.items())
    return _listed(classes)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
    return ", ".join(f"*{name}*" for name in names[:MOST_CLASSES]) + more


def _measured(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts.get("evaluation"):
        yield "Nothing: no result was given when it was saved."
    for task, found in facts.get("evaluation", {}).items():
        if task:
            yield f"**{task}**\n"
        again = "" if found["evaluations"] == 1 else f" (looked at {found['evaluations']} times in that process)"
        yield (
            f"On {found['images']:,} {found['split']} images{again}. Always giving the most frequent answer would be "
            f"right on {100 * found['majority']:.1f} %.\n"
        )
        yield from ["| | value | 95 % interval |", "|---|---|---|"]
        yield from (_row(name.replace("_", " "), m) for name, m in found["metrics"].items())
        few = len(found["per_class"]) <= MOST_CLASSES
        for name, scores in found["per_class"].items() if few else ():
            yield from (_row(f"{kind} of *{name}*", m) for kind, m in scores.items() if kind != "f1")
        yield ""
    refusal = facts.get("refusal")
    if refusal:
        yield f"It answers “neither” where its largest probability is below {refusal['probability']:.3f},"
        if refusal["distance"] is not None:
            yield f"or where a picture is further than {refusal['distance']:.3f} from the nearest training images."
        yield f"That keeps {100 * refusal['kept']:.1f} % of its {refusal['images']} right answers to validation images."


def _row(name: str, m: Mapping[str, Any]) -> str:
    return f"| {name} | {m['value']:.3f} | {m['low']:.3f} to {m['high']:.3f} ({m['method']}) |"


def _input(facts: Mapping[str, Any]) -> Iterator[str]:
    given = facts.get("input", {})
    if given:
        size = given["size"]
        yield f"- N×3×{size}×{size}, {given['values']}, RGB; a grey picture is repeated three times"
        yield f"- a photograph is {given['resize'].replace('centre square', f'centre square of {size} pixels')}"
    if "mean" in given:
        yield f"- the first stage scales to 0 … 1, subtracts {given['mean']} and divides by {given['std']} itself"


def _data(facts: Mapping[str, Any]) -> Iterator[str]:
    data = facts.get("data")
    if not data:
        yield "Not given when it was saved."
        return
    yield f"- {data['name']}: {data['rule']}"
    for split, counts in data["counts"].items():
        shown = ", ".join(f"{name} {n:,}" for name, n in list(counts.items())[:MOST_CLASSES])
        yield f"- {split} {sum(counts.values()):,} images ({shown})"
    yield f"- split: {data['split']}; {data['size']}"
    yield f"- **licence of the data: {data['licence'] or UNKNOWN}**"
    yield from (f"- {key}: {data[key]}" for key in ("source", "citation") if data[key])
    yield from (f"- note: {note}" for note in data["notes"])
    for was in facts.get("earlier", []):
        yield f"- before that, these weights were trained on {was['name']} (licence: {was['licence'] or UNKNOWN})"


def _network(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"- {facts.get('name', UNKNOWN)}, starting from: {facts.get('weights', UNKNOWN)}"
    if facts.get("source"):
        yield f"- source of those weights: {facts['source']}"
    if facts.get("weights") != "random start":
        yield f"- **licence of those weights: {facts.get('licence') or UNKNOWN}**"
    if facts.get("hidden"):
        yield f"- a hidden layer of {facts['hidden']} units before the head"


def _training(facts: Mapping[str, Any]) -> Iterator[str]:
    for i, run in enumerate(facts.get("training", []), 1):
        profile = ", ".join(f"{stage} {rate:g}" for stage, rate in run["profile"].items() if rate)
        frozen = [stage for stage, rate in run["profile"].items() if not rate]
        told = f"{i}. {run.get('ran', run['epochs'])} of {run['epochs']} epochs ({run['ended']}); rates: {profile}"
        told += f"; frozen: {', '.join(frozen)}" if frozen else ""
        rest = {k: v for k, v in run.items() if k not in ("profile", "epochs", "ran", "ended", "majority")}
        yield f"{told}; {', '.join(f'{k} {v}' for k, v in rest.items() if v is not None)}"


def _how(facts: Mapping[str, Any], file: str) -> list[str]:
    if file.endswith(".onnx"):
        return [*_onnx(facts), "```", f"sftlab predict {file} photo.jpg", "```"]
    code = [f'sftlab predict {file} photos/    # or sft.predict("{file}", ["photo.jpg"])', f"sftlab export {file}"]
    return ["```", *code, "```"]


def _onnx(facts: Mapping[str, Any]) -> list[str]:
    made = facts.get("onnx", {})
    outputs = "`probabilities` (N×classes)" + (" and `distance` (N)" if facts.get("refusal") else "")
    return [
        f"One input, `images` (uint8, as above, any N); output {outputs}. Scaling is part of the graph.",
        f"Checked against torch on {made.get('images')} {made.get('pictures')}: log-probabilities differ by at most "
        f"{made.get('difference', 0):.1g} (allowed {made.get('tolerance', 0):g}, relative to 1 + |log p|).",
        "",
    ]
