"""The common parts of benchmarks: arguments, networks, candidates, engines, times, tables."""
