class VirtualPoolError(Exception):
    """Every refusal of this library: the fault, the place, the expected value, the next step."""
