"""How a model leaves the lab: saved with its card, asked about files, exported."""
