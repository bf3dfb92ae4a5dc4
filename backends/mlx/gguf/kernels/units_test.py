"""Every kernel that is built runs under the checker, and its struct fits the table."""

from __future__ import annotations

import json
import math

import mlx.core as mx
import numpy as np
import pytest

from backends.mlx.gguf import formats, kernels
from backends.mlx.gguf.formats import sample
from backends.mlx.gguf.kernels import units
from tools import metal
