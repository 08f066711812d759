"""`nic experiment`: the tables and figures of the works that this project implements, and what was measured of them.

Examples:
    nic experiment list
    nic experiment show thesis-figure-2.3
"""
