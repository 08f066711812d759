"""`nic dashboard`: runs on disk as a page that follows them while they train. It reads run folders and never writes."""
