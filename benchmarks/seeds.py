"""How good is `make run`, over seeds? Runs the main notebook for 5 seeds on both splits and prints the table.

    python benchmarks/seeds.py

Resumable: a run whose record is there already is read, not repeated. About a minute a run on two cores.
"""

from pathlib import Path

from sftlab.core import records
from sftlab.core.statistics import t_interval
from sftlab.runs.run import run

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "seeds"
SEEDS = range(5)


def accuracy(data: str, seed: int) -> records.Result:
    """Return the result of one run of the main notebook, from disk if it was made before."""
    folder = RUNS / f"{data}_{seed}"
    if kept := sorted(folder.glob("*/record.json")):
        return records.read(kept[-1], records.Result)
    done = run("10_your_own_images", {"DATA": data, "SEED": seed}, out=folder, say=print)
    assert done.result is not None
    return done.result


def main() -> None:
    kept = {}
    for data in ("solar-random", "solar"):
        results = [accuracy(data, seed) for seed in SEEDS]
        values = [r.accuracy.value for r in results]
        each = ", ".join(f"{value:.3f}" for value in values)
        mean = t_interval(values, test_to_train=0.25 / 0.6)  # each seed splits the same cells anew
        print(f"{data:13s} mean {mean:.3f} (t-interval over {len(values)} splits); each {each}")
        kept[data] = [{"accuracy": r.accuracy.value, "majority": r.majority} for r in results]
    records.write(kept, HERE / "seeds.json")


if __name__ == "__main__":
    main()
