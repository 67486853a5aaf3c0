"""Studies: each folder here is one, found without registration."""
