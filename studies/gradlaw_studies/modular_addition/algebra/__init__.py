"""Solutions of modular addition as algebra: Fourier form, potentials, semiring, constructions, paths."""
