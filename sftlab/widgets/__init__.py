"""Controls of the lessons: thin shells over `plot`, and the only room that imports ipywidgets.

Every control is three things at once: a live widget, a static figure for readers of the saved page, and a
line of text for everybody else. Native inputs with real labels, so the keyboard and screen readers work;
everything a control needs comes with the package. Unattended runs change nothing and keep the defaults.
"""

from sftlab.widgets.guess import Prediction, predict
from sftlab.widgets.labelling import Labelling, label_cells
from sftlab.widgets.panel import Panel

__all__ = ["Labelling", "Panel", "Prediction", "label_cells", "predict"]
