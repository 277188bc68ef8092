"""Agent, workers, gateway, profiler: the only package that imports torch."""
