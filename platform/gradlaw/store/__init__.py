"""The store: a folder or a bucket of Parquet, written once and never changed.

- ``store`` is the whole; ``files`` what it stands on: a ``local`` folder, or a ``bucket`` by ``s3`` or
  ``gcs``. ``paths`` gives everything in it its name.
- Written: a pack by ``writer``, what lets it go on by ``checkpoints``, ``plans``; in the form that
  ``schema``, ``registry``, ``trials`` and ``parquet`` say. ``compaction`` merges packs.
- Read: ``resolve`` finds what counts, ``units`` of it, among whose rows ``winners`` chooses;
  ``committed`` reads rows, ``attempts`` which are there, ``arrow`` opens a bucket for readers. Nothing is
  believed before ``named`` and ``damage`` have looked at it.
- Who is at work: ``leases``, of a ``process``; ``stops`` tells it to end. ``faults`` is where tests kill.
"""
