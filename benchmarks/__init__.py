"""phalanx beside the stdlib: the same workloads, in fresh processes, in turns. `python -m benchmarks --help`."""
