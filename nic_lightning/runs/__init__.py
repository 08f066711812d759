"""Run folders: what was run, with what, and what came out."""
