"""Runs on many machines, by Ray: hosts as actors, and the desk that they share. Nothing else imports Ray."""
