"""How well anomalous sound is detected, beside other methods: `make bench-detection`.

data.py finds the recordings, ours.py and baselines.py fit the methods, protocol.py splits and
measures, results.py keeps the figures, tables.py prints them, run.py is the command.
"""
