"""Controls of the lessons: thin shells over `plot`, and the only room that imports ipywidgets.

Every control is three things at once: a live widget, a static figure for readers of the saved page, and a
line of text for everybody else. Native inputs with real labels, so the keyboard and screen readers work;
everything a control needs comes with the package. Unattended runs change nothing and keep the defaults.
"""

from sftlab.widgets.cockpit import Cockpit, cockpit
from sftlab.widgets.controls import button, choice, distribution, slider, strip, toggle, words
from sftlab.widgets.explorer import Explorer, explore
from sftlab.widgets.guess import Prediction, predict
from sftlab.widgets.labelling import Labelling, label_cells
from sftlab.widgets.panel import Panel
from sftlab.widgets.relabelling import Relabelling, relabel
from sftlab.widgets.tunnel import Tunnel, wind_tunnel
from sftlab.widgets.upload import Upload, upload

__all__ = [
    "Cockpit", "Explorer", "Labelling", "Panel", "Prediction", "Relabelling", "Tunnel", "Upload", "button", "choice",
    "cockpit", "distribution", "explore", "label_cells", "predict", "relabel", "slider", "strip", "toggle", "upload",
    "wind_tunnel", "words",
]  # fmt: skip
