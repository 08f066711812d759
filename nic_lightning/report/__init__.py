"""Figures, tables and the HTML page, from run folders alone."""
