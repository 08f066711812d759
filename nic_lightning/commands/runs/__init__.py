"""`nic runs`: what runs there are, and how to reproduce one.

Examples:
    nic runs list --state finished
    nic runs show runs/first
"""
