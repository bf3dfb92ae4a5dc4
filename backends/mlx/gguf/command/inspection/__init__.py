"""What `inspect` says of a GGUF file and of an exported program."""
