"""A search that recovers each round's network with Lightning's Trainer.

    pip install lightning
    python examples/lightning_finetune.py runs/lightning

The network and the images here are random. Killed and started again with the same directory, the
search goes on, and so does the training of a round from its last epoch.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer  # pyright: ignore[reportMissingImports]
from lightning.pytorch.callbacks import ModelCheckpoint  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import virtualpool as vp
from virtualpool.search import Round


class Classifier(LightningModule):
    """Your own module of Lightning, around any network of your kind."""

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.network, self.learning_rate = network, learning_rate

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """The loss of a batch."""
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One for all weights."""
        return torch.optim.AdamW(self.parameters(), self.learning_rate)


def by_lightning(batches: Any, **options: Any) -> Callable[[nn.Module, Round], None]:
    """A `finetune` for `search`: trains the round's network, in place, by Lightning's Trainer."""

    def finetune(model: nn.Module, round: Round) -> None:
        kept = ModelCheckpoint(round.checkpoint, save_last=True)  # the search removes it at the end
        last = round.checkpoint / "last.ckpt"
        trainer = Trainer(
            callbacks=[kept], default_root_dir=round.directory, logger=False,
            enable_progress_bar=False, enable_model_summary=False, **options,
        )  # fmt: skip
        module = Classifier(model, round.learning_rate or 1e-4)
        trainer.fit(module, batches, ckpt_path=last if last.exists() else None)

    return finetune


def main(run_dir: str) -> None:
    """Searches, and prints the frontier."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    images, labels = torch.rand(32, 3, 32, 32), torch.randint(4, (32,))
    batches = DataLoader(TensorDataset(images, labels), batch_size=8)

    def evaluate(model: nn.Module) -> vp.Score:
        return vp.Score.of((model(images).argmax(1) == labels).float())

    finetune = by_lightning(batches, accelerator="cpu", max_epochs=2)
    frontier = vp.search(
        network.eval(), images[:1], evaluate=evaluate, finetune=finetune, rounds=[["2"]],
        run_dir=Path(run_dir),
    )  # fmt: skip
    print(frontier)


if __name__ == "__main__":
    main(sys.argv[1])
