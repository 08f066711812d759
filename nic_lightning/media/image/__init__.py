"""The medium image: photographs and other pictures, 8-bit RGB in files."""
