"""Where everything lies that the lab downloads or computes."""

from __future__ import annotations

import os
from pathlib import Path


def data_dir() -> Path:
    """Return the folder for downloads and caches: $SFTLAB_DATA, else the checkout's data/, else a cache."""
    if os.environ.get("SFTLAB_DATA"):
        return Path(os.environ["SFTLAB_DATA"]).expanduser()
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").exists() and (checkout / "notebooks").is_dir():
        return checkout / "data"
    from platformdirs import user_cache_path

    return user_cache_path("sftlab")
