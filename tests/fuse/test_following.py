"""A fused model follows its present weights, however they came to be; and they can learn."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel

import virtualpool as vp
from benchmarks.coverage.unet import UNet
from tests.fuse.checks import assert_same, images, pooled_and_fused, run
from tests.fuse.networks import Net, Untraceable, with_statistics
from virtualpool.fuse import following
from virtualpool.graph.running import evaluating


class Tied(nn.Module):
    """Two convolutions have one weight, which is folded in two ways."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(3, 3, 3, padding=1)
        self.body = nn.Sequential(first, with_statistics(nn.BatchNorm2d(3)), nn.ReLU())
        self.last = nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.last.weight = first.weight

    def forward(self, x):
        return self.last(self.body(x))


@pytest.fixture(params=[Net, Untraceable, Tied])
def models(request) -> tuple[Any, Any]:
    return pooled_and_fused_of(request.param)


def pooled_and_fused_of(kind: Callable[[], nn.Module], seed: int = 0) -> tuple[Any, Any]:
    torch.manual_seed(seed)
    pooled, fused, report = pooled_and_fused(kind().double().eval(), images())
    assert "body.0" in report.fused
    return pooled, fused


def learn(model: Any, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(2):
        optimizer.zero_grad()
        model(images()).square().mean().backward()
        optimizer.step()


def trained(**how: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        learn(model, torch.optim.AdamW(model.parameters(), lr=0.01, **how))

    return change


def trained_in_train_mode(model: Any) -> None:
    torch.manual_seed(0)
    model.train()
    learn(model, torch.optim.SGD(model.parameters(), lr=0.1))
    for module in model.modules():
        module.training = False  # the flag alone, as loops do that put it back


def trained_with_frozen_batch_norm(model: Any) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    learn(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model.train(False)


def trained_in_part(model: Any) -> None:
    model.body.requires_grad_(False)
    learn(model, torch.optim.SGD(model.last.parameters(), lr=0.1))


def trained_by_the_statistics(model: Any) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            torch.manual_seed(len(name))
            module.train()(torch.rand(8, module.num_features, 5, 5, dtype=torch.float64))
            module.eval()


@torch.no_grad()
def edited_in_place(model: Any) -> None:
    model.last.weight.mul_(-2)


@torch.no_grad()
def edited_at_one_element(model: Any) -> None:
    model.body[0].weight[0, 0, 0, 0] = 9


@torch.no_grad()
def edited_statistics(model: Any) -> None:
    model.body[1].running_var.add_(1)


@torch.no_grad()
def initialised(model: Any) -> None:
    nn.init.constant_(model.body[0].weight, 0.1)


def edited_in_inference_mode(model: Any) -> None:
    with torch.inference_mode():
        model.last.weight.mul_(-2)


def edited_in_the_state(model: Any) -> None:
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.mul_(0.5)


def given_a_new_parameter(model: Any) -> None:
    model.body[0].weight = nn.Parameter(model.body[0].weight.detach() * -2)


def given_a_new_buffer(model: Any) -> None:
    model.body[1].running_mean = model.body[1].running_mean + 1


def given_new_data(model: Any) -> None:
    model.body[0].weight.data = model.body[0].weight.detach() * -2


def given_parameters_of_a_vector(model: Any) -> None:
    vector = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(vector.detach() * 0.5, model.parameters())


def given_another_module(model: Any) -> None:
    model.last = nn.Sequential(copy.deepcopy(model.last))[0]
    edited_in_place(model)


def given_another_child(model: Any) -> None:
    model.body[0] = copy.deepcopy(model.body[0])
    edited_at_one_element(model)


def loaded_into_a_child(model: Any) -> None:
    state = {name: -value for name, value in model.body[0].state_dict().items()}
    model.body[0].load_state_dict(state)


def assigned_to_a_child(model: Any) -> None:
    state = {name: -value for name, value in model.body[0].state_dict().items()}
    model.body[0].load_state_dict(state, assign=True)


def moved_child(model: Any) -> None:
    model.body[0].float().double()


def parametrized(model: Any) -> None:
    parametrizations.weight_norm(model.last)
    with torch.no_grad():
        model.last.parametrizations.weight.original0.mul_(3)


CHANGES = [
    trained(foreach=True), trained(foreach=False), trained(fused=True), trained_in_train_mode,
    trained_with_frozen_batch_norm, trained_in_part, trained_by_the_statistics, edited_in_place,
    edited_at_one_element, edited_statistics, initialised, edited_in_inference_mode,
    edited_in_the_state, given_a_new_parameter, given_a_new_buffer, given_new_data,
    given_parameters_of_a_vector, given_another_module, given_another_child, loaded_into_a_child,
    assigned_to_a_child, moved_child, parametrized,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_it_follows_each_change(models, change):
    pooled, fused = models
    before = run(fused, images())
    for model in models:
        change(model)
    expected = run(pooled, images())
    assert change is moved_child or not torch.allclose(expected, before)
    assert_same(fused(images()), pooled(images()))  # gradients are wanted, if nobody asks for them
    assert_same(run(fused, images()), expected)
    with torch.inference_mode():
        assert_same(fused(images()), expected)
    assert_same(run(fused, images()), expected)


def test_it_follows_an_average(models):
    averages = [AveragedModel(model) for model in models]
    for average, model in zip(averages, models, strict=True):
        for _ in range(2):
            edited_in_the_state(model)
            average.update_parameters(model)
    pooled, fused = averages
    assert_same(run(fused, images()), run(pooled, images()))


def copied_by_pickle(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, copied_by_pickle])
def test_a_copy_of_a_changed_model_is_right(models, copied):
    for model in models:
        edited_in_the_state(model)
    pooled, fused = models
    twin = copied(fused)
    assert_same(twin(images()), pooled(images()))
    for model in (pooled, twin):
        edited_in_place(model)
    assert_same(run(twin, images()), run(pooled, images()))


def gradients_of(model: Any, given: torch.Tensor) -> list[torch.Tensor | None]:
    out = model(given).square().mean()
    return list(torch.autograd.grad(out, [given, *model.parameters()]))


def test_gradients_in_eval_mode_are_the_pooled_models(models):
    for change in (lambda model: None, edited_in_the_state):
        for model in models:
            change(model)
        pooled, fused = (gradients_of(model, images().requires_grad_()) for model in models)
        assert len(pooled) > 3
        torch.testing.assert_close(fused, pooled, rtol=1e-9, atol=1e-12)


def test_gradients_of_gradients(models):
    def twice(model: Any) -> tuple[torch.Tensor, ...]:
        parameters = list(model.parameters())
        once = torch.autograd.grad(model(images()).square().mean(), parameters, create_graph=True)
        return torch.autograd.grad(
            torch.stack([each.square().sum() for each in once]).sum(), parameters
        )

    pooled, fused = (twice(model) for model in models)
    torch.testing.assert_close(fused, pooled, rtol=1e-9, atol=1e-12)


def test_only_what_learns_has_gradients():
    _, fused = pooled_and_fused_of(Net)
    fused.requires_grad_(False)
    assert not fused(images()).requires_grad
    fused.body[1].weight.requires_grad_(True)
    fused(images()).sum().backward()
    has = [name for name, each in fused.named_parameters() if each.grad is not None]
    assert has == ["body.1.weight"]


def test_what_is_still_to_go_backward_is_not_disturbed(models):
    pooled, fused = models
    loss = fused(images()).square().mean()
    with evaluating(fused):
        run(fused.eval(), images())
    loss.backward()
    pooled(images()).square().mean().backward()
    for one, other in zip(fused.parameters(), pooled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)


def test_half_precision_autocast_folds_in_full(models):
    _, fused = models
    fused.float()
    reference = copy.deepcopy(fused)
    edited_in_the_state(fused)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        fused(images().float())
    edited_in_the_state(reference)
    for one, other in zip(fused.buffers(), reference.eval().buffers(), strict=True):
        assert torch.equal(one, other)


# Calls with other parameters


def halved(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach() * 0.5 for name, value in model.named_parameters()}


def statistics(model: Any) -> dict[str, torch.Tensor]:
    return {name: x + 1 for name, x in model.named_buffers() if "running" in name}


def test_functional_call(models):
    given = [{name: x.requires_grad_() for name, x in halved(model).items()} for model in models]
    outs = [
        functional_call(model, values | statistics(model), images())
        for model, values in zip(models, given, strict=True)
    ]
    # Each of several calls can go backward, and the model does not change.
    for model in models:
        edited_in_the_state(model)
        functional_call(model, halved(model), images())
    found = [
        torch.autograd.grad(out.square().mean(), list(values.values()))
        for out, values in zip(outs, given, strict=True)
    ]
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)
    assert_same(run(models[1], images()), run(models[0], images()))


def loss_on(model: Any, given: torch.Tensor) -> Callable[..., torch.Tensor]:
    return lambda values: functional_call(model, values, given).square().mean()


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "of parameters": lambda model: grad(loss_on(model, images()))(halved(model)),
    "of images": lambda model: grad(lambda given: model(given).square().mean())(images()),
}


@pytest.mark.parametrize("kind", [Net, Tied])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_gradients_by_a_transform(kind, transform):
    models = pooled_and_fused_of(kind)
    pooled, fused = (TRANSFORMS[transform](model) for model in models)
    torch.testing.assert_close(fused, pooled, rtol=1e-9, atol=1e-12)
    assert_same(run(models[1], images()), run(models[0], images()))


# Refused models, and forms that cannot ask


def test_other_shapes_are_refused_at_the_forward():
    _, fused = pooled_and_fused_of(Net)
    fused.last.weight = nn.Parameter(fused.last.weight[:1].detach())
    with torch.no_grad(), pytest.raises(vp.VirtualPoolError, match=r"Net is fused, .* \(1, .*\)"):
        fused(images())


def test_another_dtype_of_one_parameter_is_not_kept_in_the_old_one():
    pooled, fused = pooled_and_fused_of(Net)
    for model in (pooled, fused):
        model.load_state_dict(
            {name: value.float() for name, value in model.state_dict().items()}, assign=True
        )
    assert_same(run(fused, images().float()), run(pooled, images().float()), 1e-5)


def test_parameters_of_inference_mode():
    pooled, fused = pooled_and_fused_of(Net)
    with torch.inference_mode():
        for model in (pooled, fused):
            model.load_state_dict(
                {name: value * 0.5 for name, value in model.state_dict().items()}, assign=True
            )
            model.float()
    assert_same(run(fused, images().float()), run(pooled, images().float()), 1e-5)


def test_what_is_written_through_data_is_seen_by_eval_and_by_the_library():
    pooled, fused = pooled_and_fused_of(Net)
    for follow in (fused.eval, evaluating(fused).__enter__):
        for model in (pooled, fused):
            model.last.weight.data.mul_(2)
        follow()
        assert_same(run(fused, images()), run(pooled, images()))


def test_a_part_is_parametrized_while_it_is_fused():
    pooled, fused = pooled_and_fused_of(Net)
    for model in (pooled, fused):
        parametrizations.weight_norm(model.last)
        gradients_of(model, images().requires_grad_())
        parametrize.remove_parametrizations(model.last, "weight")
        edited_in_place(model)
    assert_same(run(fused, images()), run(pooled, images()))


def test_a_compiled_step_of_an_optimizer_is_seen():
    torch.compiler.reset()
    models = pooled_and_fused_of(Net)
    for model in models:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(images()).square().mean().backward()
        torch.compile(optimizer.step, backend="eager")()
    assert_same(run(models[1], images()), run(models[0], images()))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_it_learns_and_follows_eval(backend):
    torch.compiler.reset()
    pooled, fused = pooled_and_fused_of(Net)
    compiled: Any = torch.compile(fused, fullgraph=True, backend=backend)
    for model in (pooled, compiled):
        learn(model, torch.optim.SGD(model.parameters(), lr=0.1))
        model.eval()
    assert_same(run(compiled, images()), run(pooled, images()))


def test_compiled_without_gradients_it_does_not_look_at_folded_parameters():
    torch.compiler.reset()
    _, fused = pooled_and_fused_of(Net)
    compiles: list[int] = []

    def counted(graph: torch.fx.GraphModule, _: Any) -> Any:
        compiles.append(len(graph.graph.nodes))
        return graph.forward

    compiled: Any = torch.compile(fused, fullgraph=True, backend=counted)
    first = run(compiled, images())
    # A parameter under guard would have it compiled anew.
    for name in _folded_paths(fused):
        fused.get_parameter(name).requires_grad_(False)
    assert_same(run(compiled, images()), first)
    assert len(compiles) == 1


def _folded_paths(fused: nn.Module) -> list[str]:
    parameters = dict(fused.named_parameters())
    return [path for path in getattr(fused, following._FOLDING).paths if path in parameters]


@pytest.mark.filterwarnings("ignore")
def test_exported_and_traced_it_has_no_folding_in_it():
    _, fused = pooled_and_fused_of(Net)
    program = torch.export.export(fused, (images(),))
    assert not [node for node in program.graph.nodes if "rsqrt" in str(node.target)]
    assert_same(program.module()(images()), fused(images()))
    scripted: Any = torch.jit.trace(fused, (images(),))  # pyright: ignore[reportPrivateImportUsage]
    assert "rsqrt" not in str(scripted.inlined_graph)


def test_masks_are_folded_in():
    pooled, fused = pooled_and_fused_of(Net)
    for model in (pooled, fused):
        prune.ln_structured(model.body[0], "weight", 0.5, n=2, dim=0)
    assert_same(fused(images()), pooled(images()))
    assert_same(run(fused, images()), run(pooled, images()))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_part_of_a_kernel_has_no_gaps_in_memory(layout):
    model = UNet().eval().to(memory_format=layout)
    _, fused, _ = pooled_and_fused(model, torch.rand(2, 3, 64, 64))
    values = [value for name, value in fused.named_buffers() if "_virtualpool_folded" in name]
    assert any(value.ndim == 4 for value in values)
    for value in values:
        assert value.is_contiguous() or value.is_contiguous(memory_format=torch.channels_last)
