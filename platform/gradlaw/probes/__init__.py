"""Probes that ship with the platform, one a file, each citing its formula."""
