"""Where a run logs to beside its folder."""
