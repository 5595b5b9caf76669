"""What is in examples/, executed."""
