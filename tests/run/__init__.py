"""Tests of a whole run and of what it leaves in its work_dir."""
