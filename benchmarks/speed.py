"""The same work by everybody, side by side: `make bench`, or `python benchmarks/speed.py`.

Each contender works in a process of its own, one after the other, round by round, so that a machine that slows down
slows all of them. Finished runs are kept in the output file, and a second call goes on from there.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
FIXED = {"train": 600, "valid": 200, "epochs": 10}
PEERS = ["textbook", "fastai", "lightning"]
EVERYBODY = [*PEERS, "by_hand", "sftlab"]
MAIN = {
    "head only, 224 px": ({**FIXED, "size": 224, "learns": "probe"}, EVERYBODY),
    "last 2 stages and head, 160 px": ({**FIXED, "size": 160, "learns": "last 2"}, EVERYBODY),
    "all stages, 160 px": ({**FIXED, "size": 160, "learns": "full"}, ["textbook", "lightning", "sftlab"]),
}
BASE, PAIR = MAIN["head only, 224 px"][0], ["textbook", "sftlab"]
GROWTH = {
    **{f"{n} images": ({**BASE, "train": n}, PAIR) for n in (150, 300)},
    **{f"{n} epochs": ({**BASE, "epochs": n}, PAIR) for n in (1, 3)},
    **{f"last {k} stages": ({**BASE, "size": 160, "learns": f"last {k}"}, PAIR) for k in (1, 4, 6)},
}
NAMES = {
    "textbook": "textbook loop", "by_hand": "hand-cached loop", "fastai": "fastai", "lightning": "Lightning",
    "sftlab": "sftlab",
}  # fmt: skip


def measure(contender: str, work: dict, folder: str, prefix: list[str]) -> dict:
    """Run one contender in a process of its own."""
    env = {**os.environ, "SFTLAB_DATA": folder}
    command = [*prefix, sys.executable, str(HERE / "contenders.py"), contender, json.dumps(work)]
    ran = subprocess.run(command, env=env, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{contender} failed:\n{ran.stderr[-3000:]}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


def seconds(run: dict, again: bool = False) -> float:
    return run["curves"][-1 if again else 0][-1][0]


def spread(values: list[float], digits: int = 1) -> str:
    """Return the median, and the range if there are several."""
    low, high = (f"{v:.{digits}f}" for v in (min(values), max(values)))
    return f"{median(values):.{digits}f}" + (f" ({low}–{high})" if len(values) > 1 else "")


def reached(run: dict, level: float, again: bool = False) -> float | None:
    """Return the seconds until a validation accuracy of `level`."""
    return next((t for t, accuracy in run["curves"][-1 if again else 0] if accuracy >= level), None)


def table(runs: list[dict], name: str, contenders: list[str]) -> str:
    """Return a Markdown table: seconds, ratio to the best peer of the same round, accuracy, memory."""
    mine = {c: [r for r in runs if r["name"] == name and r["contender"] == c] for c in contenders}
    rows = [(NAMES[c], found, False) for c, found in mine.items() if found]
    rows += [(f"{NAMES[c]}, again", mine[c], True) for c in contenders if mine[c] and len(mine[c][0]["curves"]) > 1]
    best = {
        k: min(seconds(r) for c in PEERS for r in mine.get(c, []) if r["round"] == k)
        for k in {r["round"] for r in mine.get("textbook", [])}
    }
    level = min(max(a for _, a in r["curves"][0]) for found in mine.values() for r in found)
    lines = [
        f"**{name}**", "",
        f"| | seconds | times the best peer | seconds to {level:.3f} | last accuracy | peak GB |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for title, found, again in rows:
        took = [seconds(r, again) for r in found]
        ratios = [best[r["round"]] / seconds(r, again) for r in found if r["round"] in best]
        times = [t for r in found if (t := reached(r, level, again)) is not None]
        last = median(r["curves"][-1 if again else 0][-1][1] for r in found)
        peak = median(r["peak_gb"] for r in found)
        digits = 2 if median(took) < 2 else 1
        lines.append(
            f"| {title} | {spread(took, digits)} | {spread(ratios)} | {spread(times, digits) if times else 'never'} | "
            f"{last:.3f} | {peak:.1f} |"
        )
    return "\n".join(lines)


def growth(runs: list[dict]) -> str:
    """Return how the seconds of textbook and lab grow with images, epochs and the stages that learn."""
    lines = ["| work | textbook, s | sftlab, s | ratio | again, s | ratio |", "|---|---|---|---|---|---|"]
    for name in [*GROWTH, *MAIN]:
        one, two = ([r for r in runs if r["name"] == name and r["contender"] == c] for c in PAIR)
        if not one or not two:
            continue
        a, b = median(map(seconds, one)), median(map(seconds, two))
        line = f"| {name} | {a:.1f} | {b:.1f} | {a / b:.1f} |"
        if len(two[0]["curves"]) > 1:
            c = median(seconds(r, True) for r in two)
            line += f" {c:.2f} | {a / c:.0f} |"
        lines.append(line if line.count("|") == 7 else f"{line} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[*MAIN, "growth"], help="names of works, or: growth")
    parser.add_argument("--out", type=Path, default=Path("runs/speed.json"))
    parser.add_argument("--prefix", default="", help='words before each command, such as "taskset -c 0,1"')
    args = parser.parse_args()
    runs = json.loads(args.out.read_text()) if args.out.exists() else []
    done = {(r["name"], r["contender"], r["round"]) for r in runs}
    works = {k: v for k, v in MAIN.items() if k in args.only}
    plan = [(k, name, w, cs) for k in range(args.rounds) for name, (w, cs) in works.items()]
    plan += [(0, name, w, cs) for name, (w, cs) in GROWTH.items() if "growth" in args.only]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for k, name, work, contenders in plan:
            for contender in contenders:
                if (name, contender, k) in done:
                    continue
                run = measure(contender, work, folder, shlex.split(args.prefix))
                runs.append({"name": name, "round": k, **run})
                args.out.write_text(json.dumps(runs))
                took = ", again ".join(f"{curve[-1][0]:.2f} s" for curve in run["curves"])
                print(f"{name}, round {k + 1}: {NAMES[contender]} {took}", flush=True)
    print()
    for name, (_, contenders) in MAIN.items():
        if any(r["name"] == name for r in runs):
            print(table(runs, name, contenders), end="\n\n")
    print(growth(runs))


if __name__ == "__main__":
    main()
