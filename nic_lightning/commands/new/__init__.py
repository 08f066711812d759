"""`nic new`: files to begin with: a project of your own, and a codec in it.

Examples:
    nic new project my_lab
    nic new codec waves --project my_lab
"""
