#include "io/torch_globals.h"

#include <algorithm>
#include <iterator>

namespace lathe::io {
namespace {

using tensor::DType;
using enum GlobalKind;

// What torch.load(weights_only=True) takes, and the names that Stable Diffusion's published training checkpoints carry
// besides weights (the last group).
constexpr TorchGlobal kGlobals[] = {
    {"torch", "FloatStorage", storage, DType::f32},
    {"torch", "HalfStorage", storage, DType::f16},
    {"torch", "BFloat16Storage", storage, DType::bf16},
    {"torch", "DoubleStorage", storage, DType::f64},
    {"torch", "LongStorage", storage, DType::i64},
    {"torch", "IntStorage", storage, DType::i32},
    {"torch", "ShortStorage", storage, DType::i16},
    {"torch", "CharStorage", storage, DType::i8},
    {"torch", "ByteStorage", storage, DType::u8},
    {"torch", "BoolStorage", storage, DType::boolean},
    {"torch", "ComplexFloatStorage", storage, DType::c64},
    {"torch", "ComplexDoubleStorage", storage, DType::c128},
    {"torch.storage", "UntypedStorage", storage, DType::u8},
    {"torch", "UntypedStorage", storage, DType::u8},

    {"torch", "float32", dtype, DType::f32},
    {"torch", "float", dtype, DType::f32},
    {"torch", "float16", dtype, DType::f16},
    {"torch", "half", dtype, DType::f16},
    {"torch", "bfloat16", dtype, DType::bf16},
    {"torch", "float64", dtype, DType::f64},
    {"torch", "double", dtype, DType::f64},
    {"torch", "int64", dtype, DType::i64},
    {"torch", "int32", dtype, DType::i32},
    {"torch", "int16", dtype, DType::i16},
    {"torch", "int8", dtype, DType::i8},
    {"torch", "uint8", dtype, DType::u8},
    {"torch", "uint16", dtype, DType::u16},
    {"torch", "uint32", dtype, DType::u32},
    {"torch", "uint64", dtype, DType::u64},
    {"torch", "bool", dtype, DType::boolean},
    {"torch", "complex64", dtype, DType::c64},
    {"torch", "complex128", dtype, DType::c128},
    {"torch", "float8_e4m3fn", dtype, DType::f8e4m3fn},
    {"torch", "float8_e4m3fnuz", dtype, DType::f8e4m3fnuz},
    {"torch", "float8_e5m2", dtype, DType::f8e5m2},
    {"torch", "float8_e5m2fnuz", dtype, DType::f8e5m2fnuz},
    {"torch", "float8_e8m0fnu", dtype, DType::f8e8m0},

    {"collections", "OrderedDict", dict},
    {"collections", "Counter", dict},
    {"builtins", "set", set},
    {"__builtin__", "set", set},
    {"torch", "Size", size},
    {"torch._utils", "_rebuild_tensor", tensor},
    {"torch._utils", "_rebuild_tensor_v2", tensor},
    {"torch._utils", "_rebuild_tensor_v3", typed_tensor},
    {"torch._utils", "_rebuild_parameter", parameter},
    {"torch._utils", "_rebuild_parameter_with_state", parameter},
    {"torch._tensor", "_rebuild_from_type_v2", from_type},
    {"torch._utils", "_rebuild_qtensor", no_dense_array},
    {"torch", "QInt8Storage", no_dense_array},
    {"torch", "QUInt8Storage", no_dense_array},
    {"torch", "QInt32Storage", no_dense_array},
    {"torch", "QUInt4x2Storage", no_dense_array},
    {"torch", "QUInt2x4Storage", no_dense_array},
    {"torch._utils", "_rebuild_sparse_tensor", no_dense_array},
    {"torch._utils", "_rebuild_sparse_csr_tensor", no_dense_array},
    {"torch._utils", "_rebuild_meta_tensor_no_storage", no_dense_array},
    {"torch._utils", "_rebuild_nested_tensor", no_dense_array},
    {"torch._utils", "_rebuild_wrapper_subclass", no_dense_array},
    {"torch._utils", "_rebuild_device_tensor_from_numpy", no_dense_array},
    {"torch._utils", "_rebuild_device_tensor_from_cpu_tensor", no_dense_array},

    {"torch", "Tensor", other},
    {"torch", "device", other},
    {"torch.nn.parameter", "Parameter", other},
    {"torch.serialization", "_get_layout", other},
    {"_codecs", "encode", other},
    {"builtins", "bytearray", other},
    {"builtins", "complex", other},
    {"numpy", "dtype", other},
    {"numpy", "ndarray", other},
    {"numpy.core.multiarray", "scalar", other},
    {"numpy.core.multiarray", "_reconstruct", other},
    {"numpy._core.multiarray", "scalar", other},
    {"numpy._core.multiarray", "_reconstruct", other},
    {"pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", other},
};

}  // namespace

std::optional<uint32_t> find_torch_global(std::string_view module, std::string_view name) {
  const auto* found = std::ranges::find_if(
      kGlobals, [&](const TorchGlobal& global) { return global.module == module && global.name == name; });
  if (found == std::end(kGlobals)) return std::nullopt;
  return uint32_t(found - std::begin(kGlobals));
}

const TorchGlobal& torch_global(uint32_t index) {
  return kGlobals[index];
}

}  // namespace lathe::io
