"""What is made of a run: the report and the exports."""
