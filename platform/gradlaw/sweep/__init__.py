"""Sweeps without Python: a YAML file that becomes a study of one preset. See ``docs/sweeps.md``.

file -> document (values with lines) -> parts (classes) and variation (axes, zips, samples, conditions)
-> combinations -> study
"""
