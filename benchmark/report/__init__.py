"""Tables, figures and the leaderboard, from the records alone: no method or dataset need exist."""

from benchmark.report.compare import compare, compare_text
from benchmark.report.write import Report, summary_text, write_report

__all__ = ["Report", "compare", "compare_text", "summary_text", "write_report"]
