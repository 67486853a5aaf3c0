"""Reports: what a store says of its studies, in one file that stands alone."""
