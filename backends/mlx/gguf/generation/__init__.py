"""Generating text with an exported model."""
