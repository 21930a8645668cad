"""How a notebook is rerun, swept, compared and reported, and the command line."""
