"""What a run says about itself: its log and its summary."""
