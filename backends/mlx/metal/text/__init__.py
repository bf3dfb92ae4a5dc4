"""Metal as text: what MLX generates, flattened headers, host C++, the address-space check."""
