"""What several benchmarks need: arguments, networks, candidates, engines, times, tables."""
