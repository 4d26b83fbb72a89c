class VirtualPoolError(Exception):
    """Every refusal of this library: what is wrong, where, what was expected, what to do next."""
