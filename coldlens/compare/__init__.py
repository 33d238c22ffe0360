"""`compare_directions`: every direction of one behaviour, side by side."""
