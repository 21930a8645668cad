"""Take the README's picture out of the executed first lesson, so that both show the same run.

python benchmarks/picture.py
"""

import base64
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LESSON, PICTURE = ROOT / "notebooks" / "00_start_here.ipynb", ROOT / "notebooks" / "pictures" / "strategies.svg"


def drawn() -> bytes:
    """Return the SVG that the cell with `strategies` left in the lesson."""
    for cell in json.loads(LESSON.read_text(encoding="utf-8"))["cells"]:
        if "strategies(" in "".join(cell["source"]) and cell["cell_type"] == "code":
            page = "".join(cell["outputs"][-1]["data"]["text/html"])
            found = re.search(r"data:image/svg\+xml;base64,([^\"]+)", page)
            if found:
                return base64.b64decode(found[1])
    raise SystemExit("the first lesson holds no such figure: run `make notebooks`")


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(drawn())
