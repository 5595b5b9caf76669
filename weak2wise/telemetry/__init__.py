"""The log of a run, how long things take, and text made safe to show."""
