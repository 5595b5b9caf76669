"""Tests of the desk that hosts share."""
