"""From a plan to a store that holds it: what is missing, launched until nothing is; and measuring again.

- A run is ``runner``, by its ``options``: ``recorded`` writes the plan down, ``pending`` says what is
  missing, ``orders`` tells workers. ``waiting`` is for packs that others hold, ``lost`` and ``starved``
  are for those whose workers died; ``stop`` ends a run early.
- What is seen of it: ``tally`` counts, ``progress`` shows, ``telling`` says.
- Measuring again is ``remeasure``: ``measurable`` finds the trials, ``snapshots`` what probes see of
  them.
"""
