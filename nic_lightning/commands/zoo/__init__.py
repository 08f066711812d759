"""`nic zoo`: the trained models that come with the package.

Examples:
    nic zoo list
    nic zoo show photo
"""
