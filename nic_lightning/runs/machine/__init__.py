"""What processes, cores and devices a run has."""
