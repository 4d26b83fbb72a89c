import copy
import math
from collections import UserDict

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18, squeezenet1_1

import virtualpool as vp
from virtualpool.models import all_cnn_c
from virtualpool.recover.distances import relative_square
from virtualpool.recover.objectives import Distillation, Labels, cross_entropy

CPU = torch.device("cpu")
LABELS = Labels(cross_entropy)


def changed(model: nn.Module, by: float = 1.0) -> nn.Module:
    """A copy with other weights."""
    other = copy.deepcopy(model)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += by * parameter.std().nan_to_num(1.0) * torch.randn_like(parameter)
    return other


def test_labels_is_the_cross_entropy(network, batches):
    network.eval()
    images, labels = batches[0]
    expected = -network(images).log_softmax(1)[range(8), labels].mean()
    torch.testing.assert_close(LABELS.on(CPU)(network, batches[0]), expected)


@pytest.mark.parametrize("name", ["label", "labels"])
@pytest.mark.parametrize("kind", [dict, UserDict])  # the second as in transformers
def test_a_dict_is_a_batch_as_a_pair_is(network, batches, kind, name):
    network.eval()
    images, labels = batches[0]
    batch = kind({name: labels, "pixel_values": images})
    for objective in (LABELS, Distillation(changed(network), 2.0, 1.0, labels=1.0)):
        loss = objective.on(CPU)
        assert loss(network, batch) == loss(network, (images, labels))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_divergence_of_logits(network, batches, temperature):
    network.eval()
    student = changed(network)
    loss = Distillation(network, temperature, features=0.0, labels=0.0).on(CPU)
    images, _ = batches[0]
    given, wanted = (
        (net(images).double() / temperature).softmax(1).tolist() for net in (student, network)
    )
    expected = sum(
        q * math.log(q / p)
        for ps, qs in zip(given, wanted, strict=True)
        for p, q in zip(ps, qs, strict=True)
    )
    expected *= temperature**2 / 8
    torch.testing.assert_close(
        loss(student, batches[0]).double(), torch.tensor(expected).double(), rtol=1e-4, atol=1e-7
    )


def test_the_weights_of_the_parts_add_up(network, batches):
    network.eval()
    student = changed(network)

    def loss(features: float, labels: float) -> float:
        return Distillation(network, 2.0, features, labels).on(CPU)(student, batches[0]).item()

    images, labels = batches[0]
    cross_entropy = functional.cross_entropy(student(images), labels).item()
    maps = [nn.Sequential(*list(net.children())[:6])(images) for net in (student, network)]
    feature_part = relative_square(*maps).item()
    assert feature_part > 0.001
    assert loss(0, 0.5) == pytest.approx(loss(0, 0) + 0.5 * cross_entropy, rel=1e-5)
    assert loss(3, 0) == pytest.approx(loss(0, 0) + 3 * feature_part, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "size", "layer"),
    [
        (all_cnn_c, 32, "convs.8"),
        (lambda: resnet18(num_classes=5), 64, "avgpool"),
        (lambda: squeezenet1_1(num_classes=5), 64, "classifier.3"),
        (lambda: resnet18(num_classes=5), 32, "layer4.0.downsample.0"),  # later layers have one row
    ],
)
def test_the_last_map_is_compared_also_in_a_pooled_model(make, size, layer):
    torch.manual_seed(0)
    model = make().eval()
    images = torch.randn(2, 3, size, size)
    pooled = vp.apply(model, images, "all")
    loss = Distillation(model, 2.0, features=1.0, labels=0.0).on(CPU)
    assert abs(loss(model, images)) < 1e-6  # layouts of memory round differently
    assert loss._layer == layer  # pyright: ignore[reportFunctionMemberAccess]
    loss = Distillation(model, 2.0, features=1.0, labels=0.0).on(CPU)
    assert loss(pooled, images) > 1e-6
    assert loss._layer == layer  # pyright: ignore[reportFunctionMemberAccess]


def test_a_map_is_compared_as_a_whole(network, batches):
    trunk = network[:6].eval()
    student = changed(trunk)
    loss = Distillation(trunk, 2.0, features=1.0, labels=0.0).on(CPU)
    images, _ = batches[0]
    torch.testing.assert_close(
        loss(student, images), relative_square(student(images), trunk(images))
    )
    assert loss(trunk, images) == 0


class InADict(nn.Module):
    """A network for segmentation as torchvision's are."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images):
        return {"out": self.trunk(images)}


@pytest.mark.parametrize("wrap", [InADict, nn.Identity], ids=["a dict", "a map"])
def test_maps_are_compared_and_have_a_loss_by_labels_of_their_own(network, batches, wrap):
    trunk = network[:6].eval()
    model, student, calls = InADict(trunk), InADict(changed(trunk)), []
    if wrap is nn.Identity:
        model, student = trunk, student.trunk
    student.register_forward_hook(lambda *_: calls.append(1))

    def loss_by_labels(model, batch):
        return model(batch[0])["out"].mean() if wrap is InADict else model(batch[0]).mean()

    batch = batches[0]
    distance = Distillation(model, 2.0, features=1.0, labels=0.0).on(CPU)(student.eval(), batch)
    calls.clear()
    both = Distillation(model, 2.0, features=1.0, labels=0.5, loss=loss_by_labels)
    found = both.on(CPU)(student, batch)
    assert len(calls) == 1
    torch.testing.assert_close(found, distance + 0.5 * loss_by_labels(student, batch))
    assert "loss_by_labels" in str(both)


def test_without_a_common_map_the_logits_are_compared_alone(caplog):
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3, 4)

        def forward(self, images):
            return self.last(images.mean((2, 3)))

    model, images = Functional(), torch.randn(2, 3, 8, 8)
    loss = Distillation(model, 2.0, features=1.0, labels=0.0).on(CPU)
    assert loss(model, images).item() == pytest.approx(0, abs=1e-7)
    assert "no feature map is compared" in caplog.text
    loss(model, images)
    assert len(caplog.records) == 1


def test_the_original_is_left_as_it_is(network, batches):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    student = changed(network)
    loss = Distillation(network, 2.0, features=1.0, labels=0.0).on(CPU)
    loss(student, batches[0]).backward()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.training
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(p.grad is not None for p in student.parameters())
    assert not any(module._forward_pre_hooks for module in student.modules())


def test_dropout_of_the_original_is_off(network, batches):
    student = changed(network).eval()
    loss = Distillation(network.train(), 2.0, features=1.0, labels=0.0).on(CPU)
    assert loss(student, batches[0]) == loss(student, batches[0])


class Giving(nn.Module):
    """Gives the result of a function of a linear layer's logits."""

    def __init__(self, make) -> None:
        super().__init__()
        self.last = nn.Linear(3, 4)
        self.make = make

    def forward(self, images):
        return self.make(self.last(images.mean((2, 3))))


def test_auxiliary_outputs_are_left_out():
    plain = Giving(lambda logits: logits)
    auxiliary = Giving(lambda logits: (logits, logits + 1))
    auxiliary.load_state_dict(plain.state_dict())
    batch = (torch.randn(2, 3, 4, 4), torch.tensor([1, 2]))
    assert LABELS.on(CPU)(auxiliary, batch) == LABELS.on(CPU)(plain, batch)


IMAGES = torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("objective", "make", "batch", "message"),
    [
        (LABELS, lambda x: x, IMAGES, "have no labels; give pairs"),
        (LABELS, lambda x: x, (IMAGES,), "have no labels; give pairs"),
        (LABELS, lambda x: x, ([IMAGES[0]], [{"labels": 1}]), r"are a list; .*\.detector_loss"),
        (LABELS, lambda x: x, {"image": IMAGES}, "have no labels; give pairs"),
        (LABELS, lambda x: x, {"image": IMAGES, "label": 1}, "are a int; expected a tensor"),
        (
            LABELS,
            lambda x: x,
            (IMAGES, torch.tensor([0, 4])),
            r"\(2, 4\) and .* go up to 4",
        ),
        (
            LABELS,
            lambda x: x[:, :, None],
            (IMAGES, torch.tensor([0, 1])),
            r"\(2, 4, 1\) and",
        ),
        (
            LABELS,
            lambda x: {"maps": x},
            (IMAGES, torch.tensor([0, 1])),
            "gives a dict",
        ),
        ("distillation", lambda x: {"maps": x}, IMAGES, "gives a dict; .* wrap the model"),
        ("distillation", lambda x: x[:, :, None], IMAGES, r"shape \(2, 4, 1\); distillation"),
        ("mixed", lambda x: x, IMAGES, "have no labels; give pairs"),
    ],
)
def test_what_cannot_be_compared_is_refused(objective, make, batch, message):
    model = Giving(make)
    if isinstance(objective, str):
        objective = Distillation(model, 2.0, 1.0, labels=float(objective == "mixed"))
    with pytest.raises(vp.VirtualPoolError, match=message):
        objective.on(CPU)(model, batch)
