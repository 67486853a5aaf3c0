"""Sweeps without Python: a YAML file that becomes a study of one preset. See ``docs/sweeps.md``.

- The way: ``read`` takes a file as a ``document`` (values with lines), by ``fields``, into ``parts``
  (classes) and what is to ``vary`` (``axes``, zips, ``sampling``, ``condition``), which ``combine`` puts
  together; or into a ``search``. ``plan`` makes the plan.
- ``override`` is what the command line says instead, ``name`` the sweep's name, found without torch.
"""
