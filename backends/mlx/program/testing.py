"""Programs for tests: exported from a torch module, or written from a hand-made graph.

It imports torch and ExecuTorch, which reading and running a program do not need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from backends.mlx import overlay
from backends.mlx.program.dtypes import SCALAR_TYPES

overlay.ensure()

from executorch.backends.mlx import MLXPartitioner  # noqa: E402
from executorch.backends.mlx.serialization import mlx_graph_schema as mlx_schema  # noqa: E402
from executorch.backends.mlx.serialization.mlx_graph_serialize import (  # noqa: E402
    serialize_mlx_graph,
)
from executorch.exir import (  # noqa: E402
    EdgeCompileConfig,
    ExecutorchBackendConfig,
    to_edge_transform_and_lower,
)
from executorch.exir import schema as exir_schema  # noqa: E402
from executorch.exir._serialize._named_data_store import NamedDataStore  # noqa: E402
from executorch.exir._serialize._program import PTEFile, serialize_pte_binary  # noqa: E402
from executorch.exir.scalar_type import ScalarType  # noqa: E402

Tid, Vid, IntOrVid = mlx_schema.Tid, mlx_schema.Vid, mlx_schema.IntOrVid

# Of the types that numpy has.
CODES = {
    type_.storage: code for code, type_ in SCALAR_TYPES.items() if type_.storage.name == type_.name
}


def export(path: Path, module: torch.nn.Module, inputs: tuple, dynamic_shapes=None) -> Path:
    """Lowers `module` whole to the MLX delegate and writes it to `path`."""
    exported = torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic_shapes)
    edge = to_edge_transform_and_lower(
        exported,
        partitioner=[MLXPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )
    program = edge.to_executorch(ExecutorchBackendConfig())
    path.write_bytes(program.buffer)
    return path


@dataclass
class GraphFile:
    """A one-method program under construction; slots are numbered as the schema wants them.

    Attributes:
      constants: name to array; inputs: arrays that give shapes and dtypes; outputs: shapes and
        dtypes likewise. Constants get Tids from 0, then inputs, outputs, mutable buffers, temps.
      chains: lists of upstream's node dataclasses; chain 0 is the main chain.
      int_inputs: the ints that follow the tensor inputs, which every call must give; they get Vids
        from 0.
    """

    chains: list = field(default_factory=lambda: [[]])
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: list[np.ndarray] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    mutable: list[np.ndarray] = field(default_factory=list)
    temps: int = 0
    values: int = 0
    int_inputs: tuple[int, ...] = ()
    init_chain: int = -1

    def constant(self, index: int) -> Tid:
        return Tid(index)

    def input(self, index: int) -> Tid:
        return Tid(len(self.constants) + index)

    def output(self, index: int) -> Tid:
        return Tid(self.input(len(self.inputs)).idx + index)

    def buffer(self, index: int) -> Tid:
        return Tid(self.output(len(self.outputs)).idx + index)

    def temp(self, index: int) -> Tid:
        return Tid(self.buffer(len(self.mutable)).idx + index)

    def graph(self) -> mlx_schema.MLXGraph:
        """Upstream's graph object, to be changed by tests before `write`."""
        kinds = mlx_schema.SlotType

        def slot(index, kind=kinds.TensorSlot):
            return mlx_schema.SlotVariant(idx=index, slot_type=kind)

        tensors = [*self.constants.values(), *self.inputs, *self.outputs, *self.mutable]
        return mlx_schema.MLXGraph(
            version="1",
            num_constant_tensors=len(self.constants),
            num_input_tensors=len(self.inputs),
            num_output_tensors=len(self.outputs),
            num_mutable_buffer_tensors=len(self.mutable),
            num_temp_tensors=self.temps,
            num_values=self.values,
            instruction_chains=[
                mlx_schema.InstructionChain([mlx_schema.Instruction(op=node) for node in chain])
                for chain in self.chains
            ],
            main_chain_idx=0,
            init_chain_idx=self.init_chain,
            input_map=[slot(self.input(i).idx) for i in range(len(self.inputs))]
            + [slot(i, kinds.IntValueSlot) for i in range(len(self.int_inputs))],
            output_map=[slot(self.output(i).idx) for i in range(len(self.outputs))],
            mutable_buffer_map=[slot(self.buffer(i).idx) for i in range(len(self.mutable))],
            named_slots=[
                mlx_schema.NamedSlot(name, slot(i)) for i, name in enumerate(self.constants)
            ],
            tensor_meta=[_meta(array) for array in tensors],
        )

    def write(self, path: Path, graph: mlx_schema.MLXGraph | None = None) -> Path:
        """Writes the program, with `graph` in place of its own if given."""
        store = NamedDataStore()
        for name, array in self.constants.items():
            store.add_named_data(name, array.tobytes(), alignment=16)
        count = len(self.inputs) + len(self.int_inputs)
        values = [_tensor(array) for array in self.inputs]
        values += [exir_schema.EValue(exir_schema.Int(value)) for value in self.int_inputs]
        values += [_tensor(array) for array in self.outputs]
        outputs = list(range(count, len(values)))
        plan = exir_schema.ExecutionPlan(
            name="forward",
            container_meta_type=exir_schema.ContainerMetadata("", ""),
            values=values,
            inputs=list(range(count)),
            outputs=outputs,
            chains=[
                exir_schema.Chain(
                    inputs=[],
                    outputs=[],
                    instructions=[
                        exir_schema.Instruction(
                            exir_schema.DelegateCall(0, list(range(len(values))))
                        )
                    ],
                    stacktrace=None,
                )
            ],
            operators=[],
            delegates=[
                exir_schema.BackendDelegate(
                    id="MLXBackend",
                    processed=exir_schema.BackendDelegateDataReference(
                        exir_schema.DataLocation.INLINE, 0
                    ),
                    compile_specs=[],
                )
            ],
            non_const_buffer_sizes=[0],
        )
        payload = serialize_mlx_graph(graph or self.graph())
        program = exir_schema.Program(
            version=0,
            execution_plan=[plan],
            constant_buffer=[],
            backend_delegate_data=[exir_schema.BackendDelegateInlineData(payload)],
            segments=[],
            constant_segment=exir_schema.SubsegmentOffsets(0, []),
        )
        file = PTEFile(program, named_data=store.get_named_data_store_output())
        path.write_bytes(bytes(serialize_pte_binary(file, extract_delegate_segments=True)))
        return path


def _meta(array: np.ndarray) -> mlx_schema.TensorMeta:
    shape = [mlx_schema.ShapeDim(value=dim) for dim in array.shape]
    return mlx_schema.TensorMeta(shape, CODES[array.dtype], list(range(array.ndim)))


def _tensor(array: np.ndarray) -> exir_schema.EValue:
    return exir_schema.EValue(
        exir_schema.Tensor(
            scalar_type=ScalarType(CODES[array.dtype]),
            storage_offset=0,
            sizes=list(array.shape),
            dim_order=list(range(array.ndim)),
            requires_grad=False,
            layout=0,
            data_buffer_idx=0,
            allocation_info=None,
            shape_dynamism=exir_schema.TensorShapeDynamism.STATIC,
        )
    )
