"""From a GGUF file to an exported language model."""
