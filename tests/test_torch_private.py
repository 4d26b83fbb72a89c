"""Fails, name by name, where a new PyTorch has dropped or changed a name that the library needs."""

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torchvision.models import ResNet18_Weights
from torchvision.models.segmentation import FCN_ResNet50_Weights

from virtualpool import torch_private as private

CONVOLUTIONS = [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d]
BATCH_NORMS = [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm]
INSTANCE_NORMS = [nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d]


@pytest.mark.parametrize(
    ("base", "derived", "others"),
    [
        (private.CONVOLUTION, CONVOLUTIONS, [nn.Linear, nn.Unfold]),
        (private.BATCH_NORM, BATCH_NORMS, [*INSTANCE_NORMS, nn.GroupNorm, nn.LayerNorm]),
        (private.NORM_WITH_STATISTICS, [*BATCH_NORMS, *INSTANCE_NORMS], [nn.GroupNorm]),
    ],
)
def test_what_classes_derive_from(base: type, derived: list[type], others: list[type]) -> None:
    assert all(issubclass(kind, base) for kind in derived)
    assert not any(issubclass(kind, base) for kind in others)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(1)


def test_the_name_of_a_constant_of_the_code() -> None:
    module = Constant()
    fx.Tracer().trace(module)
    assert [name for name in vars(module) if name.startswith(private.CONSTANT)]


class Exporting(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if private.is_exporting() else x


def test_whether_a_program_is_exported() -> None:
    x = torch.zeros(2)
    assert torch.equal(torch.export.export(Exporting(), (x,)).module()(x), x + 1)
    assert torch.equal(torch.compile(Exporting(), backend="eager")(x), x)
    assert not private.is_exporting()


def test_how_often_a_tensor_was_changed() -> None:
    x = torch.zeros(2)
    (before,) = private.versions_of([x])
    x[:1].add_(1)
    assert private.versions_of([x, x[1:]]) == [before + 1] * 2
    x.add(1)
    assert private.versions_of([x]) == [before + 1]


def test_whether_tensors_are_where_they_were() -> None:
    tensors = [torch.zeros(2), nn.Parameter(torch.ones(3)), torch.zeros(())]
    addresses = [tensor.data_ptr() for tensor in tensors]
    stay = private.stay_at(tensors, addresses)
    assert stay()
    tensors[1].data = tensors[1].data.clone()
    assert not stay()


def test_calls_without_hooks() -> None:
    model = nn.Sequential(nn.ReLU())
    called: list[str] = []
    model.register_forward_pre_hook(lambda *_: called.append("before"))
    model.register_full_backward_pre_hook(lambda *_: called.append("back"))
    model[0].register_forward_hook(lambda *_: called.append("after"))
    model[0].register_full_backward_hook(lambda *_: called.append("back inside"))
    x = torch.ones(2, requires_grad=True)
    with private.hooks_off(model):
        model(x).sum().backward()
    assert not called
    model(x).sum().backward()
    assert called == ["before", "after", "back", "back inside"]


def test_in_whose_memory_a_tensor_is() -> None:
    x = torch.zeros(4)
    memories = [
        private.StorageWeakRef(each.untyped_storage()) for each in (x, x[1:], x.view(2, 2), x + 1)
    ]
    assert len(set(memories[:3])) == 1
    assert len(set(memories)) == 2


def test_what_a_module_holds_itself() -> None:
    norm, other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    assert private.own_parameters(norm) == dict(norm.named_parameters())
    assert private.own_buffers(norm) == dict(norm.named_buffers())
    private.own_parameters(norm).update(private.own_parameters(other))
    private.own_buffers(norm).update(private.own_buffers(other))
    assert norm.weight is other.weight
    assert norm.running_mean is other.running_mean
    assert not private.own_parameters(nn.Sequential(norm))


HOOKS: dict[str, tuple[Any, bool]] = {
    "register_forward_hook": (lambda *_: None, True),
    "register_forward_pre_hook": (lambda *_: None, True),
    "register_full_backward_hook": (lambda *_: None, False),
    "register_full_backward_pre_hook": (lambda *_: None, False),
}


@pytest.mark.parametrize("name", HOOKS)
def test_hooks(name: str) -> None:
    hook, is_forward = HOOKS[name]
    module = nn.ReLU()
    handle = getattr(module, name)(hook)
    assert private.forward_pre_hooks(module) == [hook] * (name == "register_forward_pre_hook")
    assert private.has_forward_hooks(module) is is_forward
    assert private.has_backward_hooks(module) is not is_forward
    with private.forward_hooks_off(module, (type(hook),)):
        assert not private.has_forward_hooks(module)
    assert private.has_forward_hooks(module) is is_forward
    handle.remove()
    assert not private.has_forward_hooks(module)
    assert not private.has_backward_hooks(module)


def test_the_modules_around_a_node() -> None:
    graph = fx.symbolic_trace(nn.Sequential(nn.Sequential(nn.ReLU(), Constant()))).graph
    around = {node.op: private.modules_around(node)[-1:] for node in graph.nodes}
    assert around["call_module"] == ["0.0"]
    assert around["call_function"] == ["0.1"]
    assert around["placeholder"] == []


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (torch.add, ["input", "other"]),
        (torch.where, ["condition", "input", "other"]),
        (nn.functional.relu, ["input", "inplace"]),
    ],
)
def test_the_names_of_arguments(function: Any, names: list[str]) -> None:
    first, *_ = private.signatures_of(function)
    assert [*first.parameters][: len(names)] == names


class Structured(nn.Module):
    def forward(self, given: dict[str, Tensor]) -> dict[str, Any]:
        return {"a": given["x"] + 1, "b": [given["x"]]}


def test_the_structure_that_a_graph_returns() -> None:
    placeholders = {"given": {"x": private.PH}}
    graph = fx.Tracer().trace(Structured(), placeholders)
    structure = private.unflattened(graph)
    assert structure is not None
    assert private.pytree.tree_unflatten([1, 2], structure) == {"a": 1, "b": [2]}
    assert private.unflattened(graph) is None  # it returns a plain list now
    assert private.unflattened(fx.Tracer().trace(nn.ReLU())) is None


def test_structures() -> None:
    given = {"a": [torch.zeros(1), 2], "b": (None,)}
    leaves, structure = private.pytree.tree_flatten(given)
    assert leaves[1:] == [2, None]
    assert private.pytree.tree_unflatten(leaves, structure) == given
    assert private.pytree.tree_leaves(given)[1:] == [2, None]
    paths = [path for path, _ in private.pytree.tree_flatten_with_path(given)[0]]
    assert list(map(private.pytree.keystr, paths)) == ["['a'][0]", "['a'][1]", "['b'][0]"]
    assert [paths[1][0].get(given), paths[1][1].get([0, 2])] == [given["a"], 2]
    mapped = private.pytree.tree_map_only(int, lambda value: value + 1, given)
    assert mapped["a"][1] == 3
    assert private.pytree.tree_structure(1).is_leaf()


@pytest.mark.parametrize("padding", ["same", 1, (2, 1)])
def test_the_sides_of_a_padding(padding: Any) -> None:
    convolution = nn.Conv2d(1, 1, 3, padding=padding, padding_mode="reflect")
    rows, columns = padding if isinstance(padding, tuple) else (1, 1)
    assert private.sides_of_padding(convolution) == [columns, columns, rows, rows]
    copied = copy.copy(convolution)
    private.set_sides_of_padding(copied, (0, 1, 2, 3))
    assert copied(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 11, 7)
    assert private.sides_of_padding(convolution) == [columns, columns, rows, rows]


class Own(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight, bias) + 1


def test_what_a_convolution_runs() -> None:
    plain, changed = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    changed._conv_forward = Own(1, 1, 1)._conv_forward
    x = torch.ones(1, 1, 1, 1)
    assert torch.equal(changed(x), changed._conv_forward(x, changed.weight, changed.bias))
    assert private.runs_convolution_of(plain, nn.Conv2d)
    assert not private.runs_convolution_of(changed, nn.Conv2d)
    assert not private.runs_convolution_of(Own(1, 1, 1), nn.Conv2d)


def test_the_compilers_settings() -> None:
    dynamo, inductor = private.compiler_settings()
    with (
        inductor.patch(freezing=True),
        dynamo.patch(recompile_limit=1024, accumulated_recompile_limit=4096),
    ):
        assert inductor.freezing
        assert dynamo.recompile_limit == 1024


def test_the_store_of_processes() -> None:
    store = torch.distributed.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        found = private.store_of_processes()
        found.set("key", "value")
        assert found.check(["key"])
        assert found.get("key") == b"value"
    finally:
        torch.distributed.destroy_process_group()


def test_what_prepares_images_for_classification() -> None:
    preset = ResNet18_Weights.DEFAULT.transforms()
    assert private.is_for_classification(preset)
    assert (preset.crop_size, len(preset.mean), len(preset.std)) == ([224], 3, 3)
    assert not private.is_for_classification(FCN_ResNet50_Weights.DEFAULT.transforms())


def test_a_package_of_machine_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # To compile takes half a minute, so what does it is looked at alone.
    made: list[Any] = []
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", recorder(made))
    monkeypatch.setattr("torch._inductor.aoti_load_package", recorder(made))
    program = torch.export.export(nn.ReLU(), (torch.zeros(2),))
    private.compiled_package(program, tmp_path / "net.pt2")
    private.loaded_package(tmp_path / "net.pt2")
    path = str(tmp_path / "net.pt2")
    assert made == [((program,), {"package_path": path}), ((path,), {})]


def recorder(calls: list[Any]) -> Any:
    return lambda *arguments, **keywords: calls.append((arguments, keywords))


def test_where_torch_jit_asks_for_the_class_of_a_value() -> None:
    asked = []

    class Value:
        @property
        def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            frame = inspect.currentframe()
            assert frame is not None
            assert frame.f_back is not None
            asked.append(frame.f_back.f_globals["__name__"])
            return Tensor

    assert torch.jit.isinstance(Value(), Tensor)
    assert private.ASKING_FOR_A_USER in asked
