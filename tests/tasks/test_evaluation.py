import contextlib
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from virtualpool import processes
from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.classification import Preprocessing, evaluator, load_data


class Fixed(nn.Module):
    """Gives the rows of `logits` in turn; images hold their number."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.seen = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append((self.training, torch.is_grad_enabled(), images))
        return self.logits[images[:, 0, 0, 0].long()]


def numbered(count: int, batch_size: int, labels: torch.Tensor):
    images = torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(count, 3, 2, 2)
    return list(zip(images.split(batch_size), labels.split(batch_size), strict=True))


@pytest.mark.parametrize("classes", [2, 5, 6, 10])
def test_accuracy_equals_counting(classes):
    torch.manual_seed(0)
    logits, labels = torch.randn(50, classes), torch.randint(classes, (50,))
    score = evaluator(numbered(50, 16, labels))(Fixed(logits))
    order = logits.argsort(1, descending=True).tolist()
    right = [ranked[0] == label for ranked, label in zip(order, labels.tolist(), strict=True)]
    assert score == pytest.approx(sum(right) / 50)
    assert score.samples == 50
    assert score.per_sample is not None
    assert score.per_sample.tolist() == right
    assert score.standard_error == pytest.approx(torch.tensor(right).float().std() / math.sqrt(50))
    assert score.metrics["top1"] == pytest.approx(float(score), abs=1e-6)
    if classes < 6:
        assert "top5" not in score.metrics
    else:
        within = [label in ranked[:5] for ranked, label in zip(order, labels.tolist(), strict=True)]
        assert score.metrics["top5"] == pytest.approx(sum(within) / 50, abs=1e-6)


@pytest.mark.parametrize("images", [3, 16, 18])
def test_several_processes_share_the_batches(monkeypatch, images):
    torch.manual_seed(0)
    labels = torch.randint(10, (images,))
    (all_of_them,) = numbered(images, images, labels)
    loader = DataLoader(TensorDataset(*all_of_them), batch_size=4)
    model = Fixed(torch.randn(images, 10))
    alone = evaluator(loader)(model)

    found = {}
    monkeypatch.setattr(processes, "is_connected", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        model.seen.clear()
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setattr(
            processes, "gathered", lambda mine: [found.setdefault(len(found), mine)]
        )
        with contextlib.suppress(VirtualPoolError):  # no batch is left for it
            evaluator(loader)(model)
        seen = torch.cat([torch.empty(0), *(batch[:, 0, 0, 0] for *_, batch in model.seen)])
        assert seen.tolist() == [row for row in range(images) if row // 4 % 3 == rank]
    monkeypatch.setattr(processes, "gathered", lambda _: [found[rank] for rank in range(3)])
    together = evaluator(loader)(model)
    assert together.to_json() == alone.to_json()


def test_it_runs_in_eval_mode_without_gradients():
    inner = nn.Sequential(Fixed(torch.eye(3)), nn.Dropout(0.5)).train()
    inner[1].eval()
    evaluator(numbered(3, 2, torch.arange(3)))(inner)
    fixed = inner[0]
    assert isinstance(fixed, Fixed)
    assert [(training, gradients) for training, gradients, _ in fixed.seen] == [(False, False)] * 2
    assert all(images.is_contiguous(memory_format=torch.channels_last) for *_, images in fixed.seen)
    assert [module.training for module in (inner, inner[0], inner[1])] == [True, True, False]


def test_mixed_precision():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    dtypes = []
    model.register_forward_hook(lambda _, inputs, output: dtypes.append(output.dtype))
    for precision in ("no", "bf16"):
        evaluator(numbered(3, 3, torch.arange(3)), mixed_precision=precision)(model)
    assert dtypes == [torch.float32, torch.bfloat16]


def test_empty_batches_are_passed_over():
    batches = numbered(4, 2, torch.tensor([0, 1, 2, 2]))
    batches.insert(1, (torch.empty(0, 3, 2, 2), torch.empty(0, dtype=torch.int64)))
    score = evaluator(batches)(Fixed(torch.eye(4)[:, :3]))
    assert (float(score), score.samples) == (0.75, 4)


@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        (Fixed(torch.eye(3)), [0, 1, 3], "has 3 outputs, the data a label 3"),
        (Fixed(torch.zeros(3, 2, 4, 4)), [0, 1, 2], r"gives \(3, 2, 4, 4\); .*\(N, classes\)"),
        (Fixed(torch.zeros(3)), [0, 1, 2], r"gives \(3,\)"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(model, labels, message):
    with pytest.raises(VirtualPoolError, match=message):
        evaluator(numbered(3, 3, torch.tensor(labels)))(model)


def test_outputs_that_are_no_tensor_are_refused():
    class Detector(nn.Linear):
        def forward(self, input):  # pyright: ignore[reportIncompatibleMethodOverride]
            return {"boxes": input}

    with pytest.raises(VirtualPoolError, match=r"gives dict; classification expects logits"):
        evaluator(numbered(3, 3, torch.arange(3)))(Detector(2, 2))


@pytest.mark.parametrize("outputs", [1, 3, 1000])
def test_another_number_of_classes_is_refused(make_folder, outputs):
    root = make_folder({"test": {"cat": 1, "dog": 1}})
    data = load_data(root, preprocessing=Preprocessing(8))
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, outputs))
    with pytest.raises(VirtualPoolError, match=f"has {outputs} outputs, the data 2 classes"):
        evaluator(data.test)(model)


@pytest.mark.parametrize("layout", [{"cat": 2, "dog": 2}, {"cat": 5, "dog": 5}])
def test_nothing_to_evaluate_on_is_refused(make_folder, break_file, layout):
    root = make_folder({"test": layout})
    for path in root.glob("*/*/*.png"):
        break_file(path, "empty")
    data = load_data(root, preprocessing=Preprocessing(8), batch_size=4)
    with pytest.raises(VirtualPoolError, match="no image to evaluate on"):
        evaluator(data.test)(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2)))
    assert len(data.skipped) == sum(layout.values())
