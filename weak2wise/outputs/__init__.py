"""Outputs made from a run's files, during the run or later: exports, report, status. Its ledgers are only read."""
