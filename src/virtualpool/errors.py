class VirtualPoolError(Exception):
    """Every refusal of this library: the fault, the place, the expected value, the next step."""

    def __init__(self, message: object = "") -> None:
        text = str(message)
        if text.startswith("Caught VirtualPoolError in "):
            # PyTorch raises an error of a DataLoader's process anew, behind its whole traceback.
            text = text.rpartition("VirtualPoolError: ")[2].strip()
        super().__init__(text)
