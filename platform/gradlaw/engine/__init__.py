"""The engine: packs of trials, each written for one trial, run as one batched program.

Entry: :func:`gradlaw.engine.run.run_pack`; packs of measurements go to ``measure``.

- One trial's step: ``streams`` and ``sampling`` draw, ``oracle`` gives gradients, ``step`` joins them.
- Many at once: ``members`` start them, ``functions`` are theirs by vmap, ``compiled`` (known by
  ``identity``) or not, ``machine`` runs them; a ``wave`` moves each ``chunk`` on, by the ``clock``.
- What comes out: ``rows`` to a ``recorder``, ``crossings``, ``results``, a ``checkpoint``.
- How: ``choice`` of mode and width; ``memory``, ``footprint`` and ``estimate`` say what it takes,
  ``utilization`` what is used.
"""
