"""GGUF checkpoints: the file reader, the default checkpoint, and `verify`, the main command."""
