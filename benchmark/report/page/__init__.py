"""The report page: one HTML file that needs no network, made of what the tables are made of."""

from benchmark.report.page.document import document

__all__ = ["document"]
