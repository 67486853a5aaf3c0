"""``python -m gradlaw.cli``."""

from gradlaw.cli import main

main()
