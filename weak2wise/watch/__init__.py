"""Views of a running run: in the terminal, on a page, as metrics."""
