"""How a script runs: command line, files, devices, locks, checkpoints."""
