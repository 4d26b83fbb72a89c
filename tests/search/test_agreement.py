import pytest
import torch
from torch import Tensor, nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.search.agreement import output_agreement


class Outputs(nn.Module):
    """Gives its input's samples, scaled, in a structure of the test's choice."""

    def __init__(self, structure, scale: float = 1.0) -> None:
        super().__init__()
        self.structure, self.scale = structure, scale

    def forward(self, x: Tensor):
        return self.structure(x * self.scale)


STRUCTURES = {
    "tensor": lambda x: x,
    "vector": lambda x: x.flatten(1)[:, 0],
    "tuple": lambda x: (x, x.mean((2, 3))),
    "dict": lambda x: {"map": x, "classes": [x.mean((2, 3)), x.argmax(1)]},
    "half": lambda x: x.to(torch.bfloat16),
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_an_output_that_is_smaller_by_a_fifth_agrees_by_four(structure):
    batches = [torch.rand(5, 3, 4, 4) + 0.1, torch.rand(3, 3, 4, 4) + 0.1]
    evaluate = output_agreement(Outputs(STRUCTURES[structure]), batches)
    score = evaluate(Outputs(STRUCTURES[structure], 0.8))
    assert score == pytest.approx(0.8, abs=0.01)
    assert score.samples == 8
    assert evaluate(Outputs(STRUCTURES[structure])) == 1


def test_each_sample_is_compared_by_itself(network, images):
    pooled = vp.apply(network, images, ["0"])
    with torch.no_grad():
        before, after = network.eval()(images), pooled.eval()(images)
    expected = 1 - (after - before).norm(dim=1) / before.norm(dim=1)
    score = output_agreement(network, list(images.split(7)))(pooled)
    torch.testing.assert_close(score.per_sample, expected)
    assert score.standard_error == pytest.approx(expected.std().item() / 24**0.5)


def test_labels_are_not_used_and_the_models_are_not_changed(network, images):
    network.train()
    pairs = [(images[:9], torch.zeros(9)), [images[9:], torch.zeros(15)]]
    with_labels = output_agreement(network, pairs)(network)
    assert network.training
    assert with_labels == output_agreement(network, [images])(network) == 1


def test_the_original_is_what_it_was_when_evaluate_was_made(network, images):
    evaluate = output_agreement(network, [images])
    with torch.no_grad():
        network[-1].weight.mul_(2)
    assert evaluate(network) < 0.9


def test_an_original_of_zeros():
    evaluate = output_agreement(Outputs(STRUCTURES["tensor"], 0.0), [torch.rand(2, 1, 3, 3)])
    assert evaluate(Outputs(STRUCTURES["tensor"], 0.0)) == 1


def _shuffled(images: Tensor):
    class Shuffled:
        def __iter__(self):
            return iter(images[torch.randperm(len(images))].split(12))

    return Shuffled()


REFUSED_BATCHES = {
    "none": (lambda _: [], "no batches"),
    "iterator": (lambda images: iter([images]), "give a list or a DataLoader"),
    "shuffled": (_shuffled, "Batch 0 is another one than at first"),
}


@pytest.mark.parametrize("case", REFUSED_BATCHES)
def test_refused_batches(network, images, case):
    make, message = REFUSED_BATCHES[case]
    with pytest.raises(VirtualPoolError, match=message):
        output_agreement(network, make(images))(network)


REFUSED_OUTPUTS = {
    "a number": lambda x: x.sum(),
    "lengths": lambda x: (x, x[:1]),
    "integers": lambda x: x.argmax(1),
    "nothing": lambda x: None,
}


@pytest.mark.parametrize("case", REFUSED_OUTPUTS)
def test_refused_outputs(images, case):
    with pytest.raises(VirtualPoolError, match=r"Outputs gives .*wrap it"):
        output_agreement(Outputs(REFUSED_OUTPUTS[case]), [images])


def test_another_network_is_refused(network, images):
    evaluate = output_agreement(network, [images])
    with pytest.raises(VirtualPoolError, match=r"\(24, 432\) values .* \(24, 4\)"):
        evaluate(nn.Flatten())
