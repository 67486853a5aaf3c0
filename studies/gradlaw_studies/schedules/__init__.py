"""The study ``schedules``: what warm-up and decay of the lr buy, and how the lr goes with the batch size."""
