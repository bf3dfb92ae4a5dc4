"""Text to tokens and back, as a GGUF file or an exported model says."""
