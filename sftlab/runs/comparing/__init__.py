"""Two runs side by side: settings that differ, metrics with a paired test, mistakes that only one of them makes.

    from sftlab import comparing
    found = comparing.compare("runs/…_probe", "runs/…_partial")
    print(found); comparing.write_page(found, "compare.html")

`pairs` lines the two records up and tests; `pictures` finds the images again; `page` and `screen` show it.
"""

from sftlab.runs.comparing.page import beside, write_page
from sftlab.runs.comparing.pairs import Comparison, Difference, Metric, Side, compare

__all__ = ["Comparison", "Difference", "Metric", "Side", "beside", "compare", "write_page"]
