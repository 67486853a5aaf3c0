"""What a run needs of a machine, a cluster and a store, looked at before it does: ``gradlaw doctor``.

- ``examine`` runs the checks of ``software``, ``devices`` (by ``torch_facts``, in a process of its own),
  ``cluster`` and ``store``; a ``finding`` is what one says.
"""
