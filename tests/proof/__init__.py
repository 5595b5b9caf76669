"""Tests of the loop that trains, evaluates and says what that proves."""
