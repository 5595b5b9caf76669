"""One HTML file that shows a run: no script, nothing loaded from anywhere, every text of a model escaped."""
