"""``python -m cellsearch`` is ``cellsearch``."""

from cellsearch.cli import main

main()
