"""Rules that ship with the platform, one a file."""
