"""What a comparison of scorers says: its measures, and the page that shows them. Nothing here asks a model."""
