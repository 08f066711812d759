"""What each sub-command of `nic` does; cli.py parses its arguments and imports it only then."""
