// The names of Python that a checkpoint's pickle may hold, and what each means here; private to torch_pickle.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace lathe::io {

enum class GlobalKind : uint8_t {
  storage,         // a type of storage: of elements of `dtype`, or of bytes (u8)
  dtype,           // a type as a value: torch.float16
  dict,            // called: a new dict
  set,             // called: a new set
  size,            // called: its argument, a tuple
  tensor,          // _rebuild_tensor, _rebuild_tensor_v2: (storage, offset, size, stride, ...)
  typed_tensor,    // _rebuild_tensor_v3: the same with the dtype as seventh, the storage being bytes
  parameter,       // called: its first argument, a tensor
  from_type,       // _rebuild_from_type_v2: (function, type, arguments, state)
  no_dense_array,  // called, or as a type of storage: a tensor of a kind that is not read
  other,           // called: a value that weights have no use for (training state)
};

struct TorchGlobal {
  std::string_view module;
  std::string_view name;
  GlobalKind kind;
  tensor::DType dtype = tensor::DType::undefined;
};

// The place of a name in the list.
std::optional<uint32_t> find_torch_global(std::string_view module, std::string_view name);
const TorchGlobal& torch_global(uint32_t index);

}  // namespace lathe::io
