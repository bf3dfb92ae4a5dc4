"""What `verify` does: programs of single tensors, run and compared with the exact weights."""
