"""Tests of comparisons of scorers."""
