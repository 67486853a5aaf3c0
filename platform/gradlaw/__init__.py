"""gradlaw: from a claim about how networks learn to a verdict with an honest interval."""
