"""Three users' days, as commands of the documentation."""
