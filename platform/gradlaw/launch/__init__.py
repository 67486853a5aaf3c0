"""Launchers: where packs run. Only these modules import ray."""
