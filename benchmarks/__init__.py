"""Programs that measure, run by their modules: `python -m benchmarks.speed.gpu`."""
