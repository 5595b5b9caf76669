"""The log of a run, durations, output to the terminal, and text made safe to show."""
