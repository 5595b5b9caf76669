"""Tests of runs in parts: leases, epochs, and reading as one."""
