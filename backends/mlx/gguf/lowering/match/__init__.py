"""Recognises GGUF weights in a program: patterns of operators, and what they work on."""
