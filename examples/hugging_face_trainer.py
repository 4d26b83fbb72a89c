"""A search that recovers each round's network with the Trainer of Hugging Face.

    pip install transformers
    python examples/hugging_face_trainer.py runs/trainer

The network and the images here are random; yours is from `from_pretrained`. Killed and started
again with the same directory, the search goes on, and so does the training of a round.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (  # pyright: ignore[reportMissingImports]
    ResNetConfig,
    ResNetForImageClassification,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint  # pyright: ignore[reportMissingImports]

import virtualpool as vp
from virtualpool.search import Round


class Images(Dataset[dict[str, Tensor]]):
    """Images and labels by the names that the networks of Hugging Face take."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


def by_trainer(images: Dataset[Any], **options: Any) -> Callable[[nn.Module, Round], None]:
    """A `finetune` for `search`: trains the round's network, in place, by transformers' Trainer."""

    def finetune(model: nn.Module, round: Round) -> None:
        kept = round.checkpoint  # the search removes it at the end
        kept.mkdir(parents=True, exist_ok=True)
        arguments = TrainingArguments(
            output_dir=str(kept), learning_rate=round.learning_rate or 1e-4, report_to=[],
            save_strategy="epoch", save_total_limit=1, disable_tqdm=True, **options,
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=images)
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(kept)))

    return finetune


def main(run_dir: str) -> None:
    """Searches, and prints the frontier."""
    torch.manual_seed(0)
    shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 4}
    network = ResNetForImageClassification(ResNetConfig(**shape)).eval()
    images, labels = torch.rand(16, 3, 32, 32), torch.randint(4, (16,))

    def evaluate(model: nn.Module) -> vp.Score:
        return vp.Score.of((model(images).logits.argmax(1) == labels).float())

    finetune = by_trainer(
        Images(images, labels), num_train_epochs=2, per_device_train_batch_size=8, use_cpu=True
    )
    frontier = vp.search(
        network, images[:1], evaluate=evaluate, finetune=finetune, rounds=1, run_dir=Path(run_dir)
    )
    print(frontier)


if __name__ == "__main__":
    main(sys.argv[1])
