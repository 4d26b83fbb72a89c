"""The unmodified network of a run, as the command of the run named it."""

from torch import nn

from virtualpool.cli.weights import are_in_file
from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import fingerprint
from virtualpool.report.record import Record


def model_of(run: Record) -> str:
    """The network's name; a file of the user's own is where it was when the run was started."""
    model: str = run.settings["model"]
    file, _, function = model.rpartition(":")
    return f"{run.path_of(file)}:{function}" if file.endswith(".py") else model


def weights_of(run: Record) -> str | None:
    """The name of the network's weights, or their file."""
    weights: str | None = run.settings["weights"]
    if weights is None or not are_in_file(weights):
        return weights
    file, mark, key = weights.partition("#")
    return f"{run.path_of(file)}{mark}{key}"


def check_weights(run: Record, network: nn.Module, model: str, weights: str | None) -> None:
    """Refuses a network with other weights than the run's.

    Args:
        run: of the command.
        network: as it was loaded.
        model: its name.
        weights: their name.
    """
    if fingerprint(network.state_dict()) != run.config["weights"]:
        raise VirtualPoolError(
            f"{run.directory}: was made with other weights than {model} --weights "
            f"{weights}; it had {run.settings['model']} --weights {run.settings['weights']}."
        )
