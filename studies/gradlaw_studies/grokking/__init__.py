"""The study ``grokking``: when a network that fits its training rows adds residues it has not seen."""
