"""Which solutions to modular addition does gradient descent find? See the README beside this file."""
