"""What a run writes down: its record, its results, while it goes on."""
