"""Adaptive plans: searches and edges, which ask for trials round by round, after what has ended so far.

What is asked next is a pure function of the declaration, of what was asked before and of how that ended. Each
round is recorded in the plan before its trials run, so a run that was killed asks the same again.

- ``declared`` is a preset's searches and edges, after ``faults`` has looked for what is impossible.
- ``rounds`` says what to ``ask`` next, by ``samplers`` for searches and ``bisection`` for edges;
  ``outcomes`` reads how it ended, ``growth`` records it. ``export`` writes it for Optuna's dashboard.
"""
