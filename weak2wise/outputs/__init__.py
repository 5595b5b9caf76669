"""What is made of a run's files while it runs or long after: exports, the report, the status. Reads, never mends."""
