"""From a store to verdicts and reports."""
