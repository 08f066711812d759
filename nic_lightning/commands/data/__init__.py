"""`nic data`: what data sets there are, and whether their files are sound.

Examples:
    nic data list --root data
    nic data check kodak
"""
