"""Pictures of a report: computed first, then drawn."""
