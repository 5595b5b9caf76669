"""The version of the rules by which a run decides: what the judge's rule is sure of, what a step is, who wins a tie.

A work_dir keeps the version that it was begun with (its manifest has it), so that its rows are all decided alike. What
a version changes is behind a comparison with this number, where it is decided.

1. The first rules. A manifest without a version was begun with these.
2. Units know capitals and dimensions; labels, dates, sizes and lists are no arithmetic; more spellings are read; an
   option is derived where it is chosen; fences; titles of the final answer in other dress; ties without own thinking.
"""

RULES = 2
"""The version that a new run gets."""
