"""The report: one HTML file about a run. It has no script and loads nothing; every text of a model is escaped."""
