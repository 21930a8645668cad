"""Imported first by the command line: it starts a second or two sooner without what it has no use for.

nbformat needs jsonschema, and jsonschema loads a grammar of internationalised addresses (package rfc3987-syntax, there
for Jupyter's server) for a check that no notebook asks for. Where it is not installed, jsonschema does without it.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # Python's own way to say "not installed"
