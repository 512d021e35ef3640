"""What a person runs on their own machine: command line, training, evaluation."""

import os

# Before NumPy is imported: the matrices here are small, and more threads than one only wait
# for each other (a prediction took twice as long, training on a busy machine far longer).
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
