"""Memory of a run on 50,000 images at a middle cut: `python benchmarks/many_images.py`.

The images are 64-pixel crops of the solar cells, kept in a file; stem to layer3 are frozen and their features stored.
"""

import re
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import sftlab as sft

IMAGES = 50_000


def anonymous() -> float:
    """Return the anonymous memory of this process in GB: what no file backs."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1e6


def crops(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write crops of real cells to a file and map it; a crop has its cell's label."""
    data = sft.load("solar-random", size=300, seed=0)
    rng = np.random.default_rng(0)
    out = np.memmap(path, np.uint8, "w+", shape=(IMAGES, 1, 64, 64))
    rows = rng.integers(0, len(data.train), IMAGES)
    for i, (row, (top, left)) in enumerate(zip(rows, rng.integers(0, 237, (IMAGES, 2)), strict=True)):
        out[i] = data.train.images[data.train.index[row], :, top : top + 64, left : left + 64]
    return out, data.train.y.numpy()[rows]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        x, y = crops(Path(folder) / "crops.bin")
        peak, done = [anonymous()], threading.Event()

        def watch() -> None:
            while not done.wait(0.05):
                peak[0] = max(peak[0], anonymous())

        print(f"before: {peak[0]:.2f} GB of anonymous memory")
        threading.Thread(target=watch, daemon=True).start()
        clock = time.perf_counter()
        data = sft.from_arrays(x, y, seed=0)
        model = sft.replace_head(sft.backbone("efficientnet_lite0"), data.classes)
        print(sft.feature_cost(model, data))
        profile = sft.layer_decay(model, lr=1e-3, start="layer4")
        sft.fit(model, data, profile, 1, batch_size=64)
        done.set()
        print(f"{IMAGES} images, one epoch: {time.perf_counter() - clock:.0f} s, peak {peak[0]:.2f} GB anonymous")


if __name__ == "__main__":
    main()
