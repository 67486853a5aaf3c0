"""Tasks that ship with the platform, one a file. Studies bring their own."""
