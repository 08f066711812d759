"""`nic bench`: time this code on this machine.

Examples:
    nic bench codec --width 48
    nic bench flow --size 320x240
"""
