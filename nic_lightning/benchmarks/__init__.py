"""What `nic bench` times, ours beside a peer in one run; the file NAME.py belongs to `nic bench NAME`."""
