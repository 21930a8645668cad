"""Many runs of one notebook: a grid of parameters and seeds, in parallel, resumable, and judged honestly.

    from sftlab import sweeping
    done = sweeping.sweep("notebooks/sweeps/rate_by_layers.yml")
    print(done)

`reading` checks the file, `plan` is what it asks for, the `conductor` finds out what is still to be done, `workers`
share it out, in a `nursery` runs are born, `results` are what one looks at, and the `screen` tells how it goes.
"""

from sftlab.runs.sweeping.conductor import Stopped, Swept, Watch, survey, sweep
from sftlab.runs.sweeping.plan import Grid
from sftlab.runs.sweeping.reading import read

__all__ = ["Grid", "Stopped", "Swept", "Watch", "read", "survey", "sweep"]
