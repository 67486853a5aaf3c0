"""From a study's preset to packs: expanded, checked whole, cut, estimated. Nothing here runs a trial.

- ``planned`` is what a run is asked for: a ``plan``, whose grids ``grid`` expands after ``grid_faults``
  has looked for what is impossible, each in a ``frame`` that makes its programs, trials and packs.
- ``overrides`` and ``probe_settings`` are what ``--set`` changes, ``shard`` is a share of a plan.
- ``dry_run`` says what it would take, as ``expected``.
"""
