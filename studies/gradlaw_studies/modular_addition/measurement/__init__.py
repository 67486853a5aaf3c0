"""What trained weights are made of: orders, factors and kinds, frequency by frequency. Numpy alone."""
