"""Tables, figures and the leaderboard, from the records alone: no method or dataset need exist."""

from benchmark.report.write import Report, summary_text, write_report

__all__ = ["Report", "summary_text", "write_report"]
