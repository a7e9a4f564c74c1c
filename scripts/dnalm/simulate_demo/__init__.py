"""The demo's simulated genome and task."""
