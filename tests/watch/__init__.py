"""What can be seen of a run on its way: page, metrics, terminal, log."""
