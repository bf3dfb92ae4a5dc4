"""The place of `backends.mlx.metal` before, for workspaces that import it from here."""

from backends.mlx.metal import *  # noqa: F403
