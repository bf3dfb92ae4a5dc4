"""Recognises GGUF weights in a program: `weights` alone, `experts` with what indexes them."""
