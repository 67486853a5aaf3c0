"""The engine: packs of trials as one batched program."""
