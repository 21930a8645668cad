"""What runs a frozen prefix: torch, in which the loop runs too, or a compiler that only does inference.

The fast one is OpenVINO on the CPU at fp32, chosen by measurement (benchmarks/README.md): it folds BatchNorm into the
convolutions and picks layouts and kernels for the whole graph. It is held to torch's own result on every network.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sftlab.data import batch_positions

ENCODERS = ("torch", "fast")
TOLERANCE = 1e-3  # largest difference from torch's features, as a share of their largest value; typical is 1e-5
START_UP = 1.0  # seconds to trace and compile a network of ImageNet size, rounded up
SAVING = 0.5  # share of torch's time that the fast encoder saves, rounded down
CHUNK = 2  # images in one request: small enough that what flows between layers stays in the processor's cache
FIRST, BATCH = 8, 32  # images in the first batch, which is timed and compared, and in the others

Run = Callable[[Any], tuple[Tensor, ...]]


def check(encoder: str) -> None:
    """Raise ValueError for an unknown encoder, ImportError for the fast one where it is not installed."""
    if encoder not in ENCODERS:
        raise ValueError(f"encoder={encoder!r}: {' or '.join(map(repr, ENCODERS))}")
    if encoder == "fast" and find_spec("openvino") is None:
        raise ImportError("encoder='fast' needs OpenVINO: pip install 'sftlab[fast]', or leave encoder='torch'")


def identity(encoder: str) -> str:
    """Return what an encoder's values depend on besides network and images: its name, version and precision."""
    if encoder == "torch":
        return f"torch {torch.__version__} fp32"
    import openvino

    return f"openvino {openvino.__version__} fp32"


def batches(n: int) -> list[np.ndarray]:
    """Return the positions of each batch in which n images are encoded."""
    first = n if n < FIRST + 2 else FIRST
    return [np.arange(first), *(first + rest for rest in batch_positions(n - first, BATCH))]


class Encoder:
    """Runs a prefix (in eval mode) over batches of images; what it has compiled serves every later call."""

    def __init__(self, prefix: nn.Sequential, name: str = "torch") -> None:
        self.prefix, self.eager = prefix, torch_encoder(prefix)
        self.compiled: Run | None = None
        self.open = name == "fast" and device_of(prefix).type == "cpu"  # whether compiling is still to be decided

    def encode(self, batches: Iterator[Tensor], images: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield what the prefix makes of each batch of uint8 images; images: how many there are in all.

        The first batch runs in torch: it says how long the rest would take, so that compiling is paid only where it
        pays, and what the compiled network must agree with.
        """
        for x in batches:
            clock = time.perf_counter()
            out = (self.compiled or self.eager)(x)
            images, seconds = images - len(x), time.perf_counter() - clock
            yield out
            if self.open and images / len(x) * seconds * SAVING > START_UP:
                self.compiled, self.open = accepted(self.prefix, x, out), False


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's parameters lie; one without any runs on the CPU."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def torch_encoder(prefix: nn.Sequential) -> Run:
    """Return the prefix itself, without gradients; what it returns lies on the CPU."""
    device = device_of(prefix)

    def run(x: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tensors = x if isinstance(x, tuple) else (x,)
        n = len(tensors[0])
        # alone, an image takes other kernels and other roundings
        moved = tuple((torch.cat([t, t]) if n == 1 else t).to(device) for t in tensors)
        with torch.no_grad():
            out = prefix(moved if isinstance(x, tuple) else moved[0])
        return tuple(t[:n].cpu() for t in (out if isinstance(out, tuple) else (out,)))

    return run


def fast_encoder(prefix: nn.Sequential, example: Tensor) -> Run:
    """Compile a prefix (in eval mode) for uint8 images of the example's shape; it then takes any number of them.

    Raises RuntimeError where the network cannot be compiled. Reads no file, writes none and opens no connection:
    OpenVINO's own `convert_model` would report its use.
    """
    import openvino as ov
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated in torch, and nothing else gets there in half a second
        still = copy.deepcopy(prefix).requires_grad_(False)  # a function is traced faster than a module, as constants
        traced = torch.jit.trace(lambda x: still(x), example[:2], check_trace=False)
    front = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced, example_input=(example[:2],))  # named: it must outlive the conversion
    network = front.convert(front.load(decoder))
    images = network.get_parameters()[0]
    images.set_element_type(ov.Type.u8)
    images.set_partial_shape(ov.PartialShape([-1, *example.shape[1:]]))
    network.validate_nodes_and_infer_types()
    how = {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }  # fmt: skip
    queue = ov.AsyncInferQueue(ov.Core().compile_model(network, "CPU", how))
    found: dict[int, tuple[Tensor, ...]] = {}

    def keep(request: Any, start: int) -> None:
        found[start] = tuple(torch.from_numpy(t.data.copy()) for t in request.output_tensors)

    queue.set_callback(keep)

    def run(x: Tensor) -> tuple[Tensor, ...]:
        found.clear()
        for start in range(0, len(x), CHUNK):
            queue.start_async(x[start : start + CHUNK].contiguous().numpy(), start)
        queue.wait_all()
        return tuple(torch.cat(parts) for parts in zip(*(found[start] for start in sorted(found)), strict=True))

    return run


def accepted(prefix: nn.Sequential, x: Tensor, wanted: tuple[Tensor, ...]) -> Run | None:
    """Return the compiled prefix if it agrees with torch on the batch `x`; else say why not and return None."""
    try:
        fast = fast_encoder(prefix, x)
        worst = disagreement(fast(x), wanted)
        why = f"it differs from torch by {worst:.1g} of the largest feature, more than {TOLERANCE:g}"
    except Exception as error:  # a compiler can refuse a network in many ways, and torch runs it all the same
        worst, why = float("inf"), f"it cannot compile this network ({str(error).strip().splitlines()[0][:120]})"
    if worst <= TOLERANCE:
        return fast
    print(f"encoder='fast' is not used here: {why}; torch encodes instead")
    return None


def disagreement(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> float:
    """Return the largest difference between two encodings of a batch, as a share of the largest wanted value."""
    if [t.shape for t in found] != [t.shape for t in wanted]:
        return float("inf")
    shares = [(a - b).abs().max() / b.abs().max().clamp(min=1e-12) for a, b in zip(found, wanted, strict=True)]
    worst = float(torch.stack(shares).max())  # nan if any is
    return worst if math.isfinite(worst) else float("inf")
