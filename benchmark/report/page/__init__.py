"""The report page: one HTML file that needs no network, made of what the tables are made of."""
