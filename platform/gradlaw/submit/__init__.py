"""Sending a run elsewhere: as a Ray job, a KubeRay manifest or a Slurm batch script.

``job`` is what all three send; ``jobs`` and ``wheel`` are Ray Jobs, ``kuberay`` and ``slurm`` write files.
"""
