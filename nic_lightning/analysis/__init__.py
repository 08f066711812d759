"""What a codec costs and why: parameters, operations, memory, time."""
