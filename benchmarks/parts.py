"""The parts by themselves: images a second of each encoder, many heads against one, and where a step spends its time.

`python benchmarks/parts.py` takes about two minutes. Contenders take turns, so that a slow minute slows all of them.
ONNX Runtime is measured too where it and onnxscript are installed.
"""

import io
import time
import warnings
from contextlib import nullcontext
from importlib.util import find_spec
from statistics import median

import numpy as np
import torch
from torch.nn import functional as F

import sftlab as sft
from sftlab.data.storage import keep_memory

ROUNDS = 5


def in_turn(contenders: dict, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds of each contender, after one turn that does not count."""
    took = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, (context, work) in contenders.items():
            with context():
                work()  # what the context before it has left behind does not count
                clock = time.perf_counter()
                work()
                took[name].append(time.perf_counter() - clock)
    return {name: median(times[1:]) for name, times in took.items()}


def onnx_runtime(prefix, x):
    """Return the prefix in ONNX Runtime and the seconds to get there."""
    import onnxruntime

    clock, buffer = time.perf_counter(), io.BytesIO()
    torch.onnx.export(prefix, (x[:2],), buffer, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0]), time.perf_counter() - clock


def encoder_rates(size: int) -> None:
    data = sft.load("solar", size=size, seed=0)
    x = data.train.pixels(np.arange(32))
    prefix = sft.backbone("efficientnet_lite0")[:-1].eval().requires_grad_(False)
    half, start_up = sft.backbone("efficientnet_lite0")[1:-1].eval().bfloat16(), {}

    @torch.no_grad()
    def eager(x: torch.Tensor) -> torch.Tensor:
        return prefix(x)

    @torch.no_grad()
    def in_half() -> torch.Tensor:
        return half(prefix[0](x).bfloat16()).float()

    wanted = eager(x)

    contenders = {
        "torch, as it comes": (nullcontext, lambda: eager(x)),
        "torch, freed memory kept (the default)": (keep_memory, lambda: eager(x)),
        "torch in bf16, freed memory kept": (keep_memory, in_half),
    }
    if find_spec("onnxruntime"):
        other, start_up["ONNX Runtime fp32"] = onnx_runtime(prefix, x)
        contenders["ONNX Runtime fp32"] = keep_memory, lambda: other(x)
    print(f"\n| encoder, {size} px | images a second | times the first | start-up, s | largest difference |")
    print("|---|---|---|---|---|")
    took = in_turn(contenders)
    base = next(iter(took.values()))
    for name, seconds in took.items():
        worst = float((contenders[name][1]() - wanted).abs().max() / wanted.abs().max())
        wait = f"{start_up[name]:.1f}" if name in start_up else ""
        print(f"| {name} | {len(x) / seconds:.0f} | {base / seconds:.1f} | {wait} | {worst:.0e} |")


def step_rates() -> None:
    data = sft.load("solar", size=160, seed=0)
    model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes)
    sft.train_mode(model, sft.full(model))
    x, y = data.train.take(np.arange(32))

    def step(half: bool = False) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = F.cross_entropy(model(x).float(), y)
        loss.backward()

    took = in_turn({
        "a step of all stages, as it comes": (nullcontext, step),
        "a step of all stages, freed memory kept": (keep_memory, step),
        "a step in bf16 (autocast), freed memory kept": (keep_memory, lambda: step(half=True)),
    })  # fmt: skip
    print("\n| training, 160 px, batch of 32 | images a second |\n|---|---|")
    for name, seconds in took.items():
        print(f"| {name} | {len(x) / seconds:.0f} |")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, keep_memory():
        step()
    rows = sorted(profile.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    shares = [f"{row.key.removeprefix('aten::')} {row.self_cpu_time_total / total:.0%}" for row in rows[:6]]
    print(f"\nWhere a step goes: {', '.join(shares)}.")


def head_rates() -> None:
    data = sft.load("solar", size=160, per_class=300, seed=0)
    model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes)
    rates = np.geomspace(1e-5, 1e-1, 16)
    kinds = {"one": (1, 1), "16 rates": (16, 1), "30 seeds": (1, 30), "16 rates × 30 seeds": (16, 30)}
    rows = {name: [] for name in kinds}
    for optimizer in ("sgd", "adamw"):

        def work(r: int, s: int, optimizer: str = optimizer) -> None:
            sft.lr_sweep(model, data, rates[:r], 10, optimizer=optimizer, seeds=range(s))

        took = in_turn({name: (nullcontext, lambda rs=rs, w=work: w(*rs)) for name, rs in kinds.items()}, rounds=3)
        for name, seconds in took.items():
            rows[name] += [f"{seconds:.2f}", f"{seconds / took['one']:.1f}"]
    print("\n| heads at once, 600 images, 10 epochs | SGD, s | times one | AdamW, s | times one |")
    print("|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for size in (160, 224):
        encoder_rates(size)
    step_rates()
    head_rates()
