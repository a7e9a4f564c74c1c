"""The stages that are measured. Each module has `measure(bench) -> Iterator[Row]`."""
