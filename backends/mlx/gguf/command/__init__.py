"""The commands: export, generate, demo, inspect, verify."""
