"""What codecs take and give back."""
