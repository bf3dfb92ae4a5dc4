"""Metal kernels on Linux: run, check and build the sources MLX compiles on a Mac, unmodified.

`metal_kernel` has mx.fast.metal_kernel's signature and is that function where Metal is available.
On the host, order of reductions, denormals and rounding inside matrix units need not be Apple's.
The checker is stricter than Metal in one thing: a simdgroup operation that not all lanes reach is
a fault, though Metal defines some over the active lanes.

What it does not see:
- Loads whose value is never used: the compiler drops them.
- Uninitialised variables of a thread.
- A pointer to a thread's own array that goes past the array. An index into an array whose size is
  known where it is used is checked against that size; behind a pointer, such as a parameter
  `thread half*`, only the address is known. It is a fault when it leaves the kernel's own part of
  the stack, or lies in the stack of another thread; not when it meets another variable of the same
  thread.
- Stacks too small: a thread has 64 KiB on the host. Arrays beyond that end a checked run's process
  with a segmentation fault, and may change other threads' variables in a fast run.
"""

from backends.mlx.metal.compile import BUILDS
from backends.mlx.metal.compiler import CompileError
from backends.mlx.metal.fault import CheckError, KernelError
from backends.mlx.metal.kernel import Report, checked, metal_kernel
from backends.mlx.metal.libraries import add_library, library_of, prepare
from backends.mlx.metal.text.address_spaces import Diagnostic, check_address_spaces
from backends.mlx.metal.text.flatten import flatten, included
from backends.mlx.metal.text.unit import CONSTANT_BELOW, Unit, load_units

__all__ = [
    "BUILDS",
    "CONSTANT_BELOW",
    "CheckError",
    "CompileError",
    "Diagnostic",
    "KernelError",
    "Report",
    "Unit",
    "add_library",
    "check_address_spaces",
    "checked",
    "flatten",
    "included",
    "library_of",
    "load_units",
    "metal_kernel",
    "prepare",
]
