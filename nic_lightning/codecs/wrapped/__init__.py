"""Image models of CompressAI as codecs of the house: its networks, our entropy models, files and tables."""
