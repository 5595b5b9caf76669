"""Tests by behaviour, through real parts."""
