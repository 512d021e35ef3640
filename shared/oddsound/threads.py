"""How many threads NumPy, SciPy and scikit-learn compute with.

Their matrices are small here: more threads than one wait for each other, and a prediction takes
twice the processor time, far more on a busy machine. A program that imports the library keeps its
own threads; the entries of services and of the command line call `limit`.
"""

import os
import sys

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS")
VARIABLES = (*(f"{library}_NUM_THREADS" for library in LIBRARIES), "VECLIB_MAXIMUM_THREADS")
"""What the libraries read when they are loaded."""


def limit(threads: int) -> None:
    """Let the libraries compute with this many threads, loaded or not yet."""
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    if "numpy" in sys.modules:  # whose library has read the variables before
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
