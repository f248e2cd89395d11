"""One HTML file that tells a run: what was searched, what was found, and how to repeat it.

``facts`` reads what the run left behind, ``pictures`` draws, ``page`` fills the template; nothing
that ``metrics.json`` of the card holds is computed anew.
"""

from cellsearch.report.write import REPORT, Written, write_report

__all__ = ["REPORT", "Written", "write_report"]
