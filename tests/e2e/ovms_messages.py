"""The messages of graph.pbtxt, for protobuf's own parser: fields, numbers and types as mediapipe and OpenVINO Model
Server publish them."""

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
TYPES = {"string": Field.TYPE_STRING, "bool": Field.TYPE_BOOL, "uint32": Field.TYPE_UINT32, "uint64": Field.TYPE_UINT64,
         "int32": Field.TYPE_INT32}  # fmt: skip
LABELS = {"optional": Field.LABEL_OPTIONAL, "required": Field.LABEL_REQUIRED, "repeated": Field.LABEL_REPEATED}

# name: (number, label, type). A type with a dot at its front is a message, one in capitals an enumeration below.
MESSAGES = {
    "CalculatorGraphConfig": {
        "node": (1, "repeated", ".mediapipe.Node"),
        "input_stream": (10, "repeated", "string"),
        "output_stream": (15, "repeated", "string"),
        "input_side_packet": (16, "repeated", "string"),
    },
    "Node": {
        "name": (1, "optional", "string"),
        "calculator": (2, "optional", "string"),
        "input_stream": (3, "repeated", "string"),
        "output_stream": (4, "repeated", "string"),
        "input_side_packet": (5, "repeated", "string"),
        "output_side_packet": (6, "repeated", "string"),
        "node_options": (8, "repeated", ".google.protobuf.Any"),
        "input_stream_handler": (11, "optional", ".mediapipe.InputStreamHandlerConfig"),
        "input_stream_info": (13, "repeated", ".mediapipe.InputStreamInfo"),
        "max_in_flight": (16, "optional", "int32"),
    },
    "InputStreamInfo": {"tag_index": (1, "optional", "string"), "back_edge": (2, "optional", "bool")},
    "InputStreamHandlerConfig": {
        "input_stream_handler": (1, "optional", "string"),
        "options": (3, "optional", ".mediapipe.MediaPipeOptions"),
    },
    "SyncSet": {"tag_index": (1, "repeated", "string")},
    "SyncSetInputStreamHandlerOptions": {"sync_set": (1, "repeated", ".mediapipe.SyncSet")},
    "LLMCalculatorOptions": {
        "models_path": (1, "required", "string"),
        "max_num_batched_tokens": (2, "optional", "uint64"),
        "cache_size": (3, "optional", "uint64"),
        "max_num_seqs": (4, "optional", "uint64"),
        "dynamic_split_fuse": (5, "optional", "bool"),
        "device": (6, "optional", "string"),
        "plugin_config": (7, "optional", "string"),
        "best_of_limit": (8, "optional", "uint32"),
        "max_tokens_limit": (9, "optional", "uint32"),
        "enable_prefix_caching": (10, "optional", "bool"),
        "draft_models_path": (11, "optional", "string"),
        "pipeline_type": (19, "optional", "PIPELINE"),
        "tool_parser": (21, "optional", "string"),
        "reasoning_parser": (22, "optional", "string"),
        "enable_tool_guided_generation": (23, "optional", "bool"),
        "cache_interval_multiplier": (25, "optional", "uint64"),
    },
    "EmbeddingsCalculatorOVOptions": {
        "models_path": (1, "required", "string"),
        "normalize_embeddings": (2, "optional", "bool"),
        "target_device": (3, "optional", "string"),
        "plugin_config": (4, "optional", "string"),
        "pooling": (5, "optional", "POOLING"),
        "truncate": (6, "optional", "bool"),
    },
    "RerankCalculatorOVOptions": {
        "models_path": (1, "required", "string"),
        "max_allowed_chunks": (2, "optional", "uint64"),
        "max_position_embeddings": (3, "optional", "uint64"),
        "target_device": (4, "optional", "string"),
        "plugin_config": (5, "optional", "string"),
    },
}  # fmt: skip
ENUMERATIONS = {"PIPELINE": ["LM", "VLM", "LM_CB", "VLM_CB", "OMNI", "AUTO"], "POOLING": ["CLS", "LAST", "MEAN"]}
HANDLER_EXTENSION = 155816273


def file_of_messages() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="graph.proto", package="mediapipe", syntax="proto2", dependency=["google/protobuf/any.proto"])
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, label, kind) in fields.items():
            added = message.field.add(name=field, number=number, label=LABELS[label])
            if kind in TYPES:
                added.type = TYPES[kind]
            elif kind.startswith("."):
                added.type, added.type_name = Field.TYPE_MESSAGE, kind
            else:
                added.type, added.type_name = Field.TYPE_ENUM, f".mediapipe.{name}.{kind}"
                values = message.enum_type.add(name=kind)
                for number_of_value, value in enumerate(ENUMERATIONS[kind]):
                    values.value.add(name=value, number=number_of_value)
    options = file.message_type.add(name="MediaPipeOptions")
    options.extension_range.add(start=20000, end=536870912)
    handler = next(message for message in file.message_type if message.name == "SyncSetInputStreamHandlerOptions")
    handler.extension.add(name="ext", number=HANDLER_EXTENSION, label=LABELS["optional"], type=Field.TYPE_MESSAGE,
                          type_name=".mediapipe.SyncSetInputStreamHandlerOptions", extendee=".mediapipe.MediaPipeOptions")  # fmt: skip
    return file


def make_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file_of_messages())
    return pool


POOL = make_pool()


def message(name: str):
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"mediapipe.{name}"))
