"""Programs that measure time, memory and energy; weights are random."""
