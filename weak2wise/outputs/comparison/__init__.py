"""What a comparison says, of scorers or of two runs, and the pages that show it. Nothing here asks a model."""
