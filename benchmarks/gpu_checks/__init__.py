"""Checks of a machine's GPUs: see gpu_check.py."""
