"""Pure functions in killable processes."""
