"""GGUF checkpoints: the file reader, and the packaged models."""
