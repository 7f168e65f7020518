"""Studies: one question each, asked of generated data, from planned runs to a table and figures.

A study says which runs it takes (`information`) and what is shown of their records (`gains`,
`write`, `figures`). Plan, executors and records are those of every run.
"""
