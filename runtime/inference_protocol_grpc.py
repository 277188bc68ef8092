"""The Open Inference Protocol over gRPC: its messages, described here rather than generated.

The public protocol's messages and field numbers (KServe `grpc_predict_v2.proto`, and Triton's stream of it),
put into a descriptor pool of our own: a generated module would register the same names as a client library
in the same process does, and clash with it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

SERVICE = "inference.GRPCInferenceService"

_TYPES = descriptor_pb2.FieldDescriptorProto

_SCALARS = {
    "bool": _TYPES.TYPE_BOOL,
    "string": _TYPES.TYPE_STRING,
    "bytes": _TYPES.TYPE_BYTES,
    "int32": _TYPES.TYPE_INT32,
    "int64": _TYPES.TYPE_INT64,
    "uint32": _TYPES.TYPE_UINT32,
    "uint64": _TYPES.TYPE_UINT64,
    "float": _TYPES.TYPE_FLOAT,
    "double": _TYPES.TYPE_DOUBLE,
}

# message → its fields in the notation of .proto files, by number. `map` is map<string, InferParameter>.
_MESSAGES: dict[str, dict[int, str]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {1: "bool live"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {1: "bool ready"},
    "ModelReadyRequest": {1: "string name", 2: "string version"},
    "ModelReadyResponse": {1: "bool ready"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {1: "string name", 2: "string version", 3: "repeated string extensions"},
    "ModelMetadataRequest": {1: "string name", 2: "string version"},
    "ModelMetadataResponse": {
        1: "string name",
        2: "repeated string versions",
        3: "string platform",
        4: "repeated ModelMetadataResponse.TensorMetadata inputs",
        5: "repeated ModelMetadataResponse.TensorMetadata outputs",
    },
    "ModelMetadataResponse.TensorMetadata": {
        1: "string name",
        2: "string datatype",
        3: "repeated int64 shape",
    },
    "ModelConfigRequest": {1: "string name", 2: "string version"},
    "ModelConfigResponse": {1: "ModelConfig config"},
    "ModelVersionPolicy": {1: "ModelVersionPolicy.Latest latest"},
    "ModelVersionPolicy.Latest": {1: "uint32 num_versions"},
    "ModelInput": {1: "string name", 2: "int32 data_type", 4: "repeated int64 dims"},
    "ModelOutput": {1: "string name", 2: "int32 data_type", 3: "repeated int64 dims"},
    "ModelConfig": {
        1: "string name",
        2: "string platform",
        3: "ModelVersionPolicy version_policy",
        4: "int32 max_batch_size",
        5: "repeated ModelInput input",
        6: "repeated ModelOutput output",
        17: "string backend",
    },
    "RepositoryIndexRequest": {1: "string repository_name", 2: "bool ready"},
    "RepositoryIndexResponse": {1: "repeated RepositoryIndexResponse.ModelIndex models"},
    "RepositoryIndexResponse.ModelIndex": {
        1: "string name",
        2: "string version",
        3: "string state",
        4: "string reason",
    },
    "InferParameter": {
        1: "oneof bool bool_param",
        2: "oneof int64 int64_param",
        3: "oneof string string_param",
        4: "oneof double double_param",
        5: "oneof uint64 uint64_param",
    },
    "InferTensorContents": {
        1: "repeated bool bool_contents",
        2: "repeated int32 int_contents",
        3: "repeated int64 int64_contents",
        4: "repeated uint32 uint_contents",
        5: "repeated uint64 uint64_contents",
        6: "repeated float fp32_contents",
        7: "repeated double fp64_contents",
        8: "repeated bytes bytes_contents",
    },
    "ModelInferRequest": {
        1: "string model_name",
        2: "string model_version",
        3: "string id",
        4: "map parameters",
        5: "repeated ModelInferRequest.InferInputTensor inputs",
        6: "repeated ModelInferRequest.InferRequestedOutputTensor outputs",
        7: "repeated bytes raw_input_contents",
    },
    "ModelInferRequest.InferInputTensor": {
        1: "string name",
        2: "string datatype",
        3: "repeated int64 shape",
        4: "map parameters",
        5: "InferTensorContents contents",
    },
    "ModelInferRequest.InferRequestedOutputTensor": {1: "string name", 2: "map parameters"},
    "ModelInferResponse": {
        1: "string model_name",
        2: "string model_version",
        3: "string id",
        4: "map parameters",
        5: "repeated ModelInferResponse.InferOutputTensor outputs",
        6: "repeated bytes raw_output_contents",
    },
    "ModelInferResponse.InferOutputTensor": {
        1: "string name",
        2: "string datatype",
        3: "repeated int64 shape",
        4: "map parameters",
        5: "InferTensorContents contents",
    },
    "ModelStreamInferResponse": {1: "string error_message", 2: "ModelInferResponse infer_response"},
}

# Where the values of each datatype are when they are not raw.
CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


# The numbers of Triton's enumeration `DataType`, which on the wire is an int32.
DATA_TYPES = {
    "TYPE_BOOL": 1,
    "TYPE_UINT8": 2,
    "TYPE_INT8": 6,
    "TYPE_INT16": 7,
    "TYPE_INT32": 8,
    "TYPE_INT64": 9,
    "TYPE_FP16": 10,
    "TYPE_FP32": 11,
    "TYPE_FP64": 12,
}

# Calls of Triton's service that are refused by name.
NOT_OFFERED = (
    "ModelStatistics",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
)


def message_class(name: str) -> Any:
    """The class of a message of the protocol, such as `ModelInferRequest`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"inference.{name}"))


def parameter_value(parameter: Any) -> Any:
    """What an InferParameter holds; None when nothing."""
    choice = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, choice) if choice else None


def set_parameter(parameter: Any, value: Any) -> None:
    """Put a value into an InferParameter."""
    match value:
        case bool():
            parameter.bool_param = value
        case int():
            parameter.int64_param = value
        case float():
            parameter.double_param = value
        case _:
            parameter.string_param = str(value)


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="regraft/inference.proto", package="inference", syntax="proto3"
    )
    described: dict[str, Any] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = described[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
        described[name] = message
        for number, text in fields.items():
            _add_field(message, name, number, text)
    return file


def _add_field(message: Any, owner: str, number: int, text: str) -> None:
    words = text.split()
    field = message.field.add(name=words[-1], number=number, label=_TYPES.LABEL_OPTIONAL)
    match words:
        case ["map", name]:
            entry = message.nested_type.add(name=name.capitalize() + "Entry")
            entry.options.map_entry = True
            _add_field(entry, owner, 1, "string key")
            _add_field(entry, owner, 2, "InferParameter value")
            field.label, field.type = _TYPES.LABEL_REPEATED, _TYPES.TYPE_MESSAGE
            field.type_name = f".inference.{owner}.{entry.name}"
            return
        case ["repeated", kind, _]:
            field.label = _TYPES.LABEL_REPEATED
        case ["oneof", kind, _]:
            if not message.oneof_decl:
                message.oneof_decl.add(name="parameter_choice")
            field.oneof_index = 0
        case [kind, _]:
            pass
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _TYPES.TYPE_MESSAGE, f".inference.{kind}"


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())
