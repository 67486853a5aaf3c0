"""Batch size against steps and examples to a target loss, the noise scale, and the time of a step."""
