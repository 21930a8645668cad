"""What a learner holds in the hand: controls, explorers, the cockpit, the wind tunnel, labelling, upload.

Every panel is three things at once: a live widget, a static figure for readers of the saved page, and a line of text
for everybody else. Native inputs with real labels, so the keyboard and screen readers work; everything a panel needs
comes with the package. Unattended runs change nothing and keep the defaults. No other wing imports ipywidgets.
"""

from sftlab.widgets.cockpit import cockpit
from sftlab.widgets.controls import button, choice, distribution, slider, strip, words
from sftlab.widgets.explore import explore, predict
from sftlab.widgets.labelling import label_cells, relabel
from sftlab.widgets.upload import upload
from sftlab.widgets.wind_tunnel import wind_tunnel

__all__ = [
    "button",
    "choice",
    "cockpit",
    "distribution",
    "explore",
    "label_cells",
    "predict",
    "relabel",
    "slider",
    "strip",
    "upload",
    "wind_tunnel",
    "words",
]
