#include <array>

#include "base/error.h"
#include "opt/numeric_check.h"
#include "opt/to_packed.h"

namespace lathe::opt {
namespace {

using tensor::Tensor;

template <class T>
Tensor vector_of(std::initializer_list<T> values) {
  return Tensor::of<T>({int64_t(values.size())}, std::span<const T>(values.begin(), values.size()));
}

}  // namespace

std::map<std::string, Tensor> packed_check_inputs(const ir::Graph& packed) {
  std::map<std::string, Tensor> inputs = {
      {"token_ids", vector_of<int64_t>({1, 0, 1, 1, 0})},
      {"positions", vector_of<int64_t>({0, 1, 2, 3, 4})},
      {"first_token", vector_of<int32_t>({0, 2, 5})},
      {"first_position", vector_of<int32_t>({0, 2})},
      {"block_table", Tensor::of<int32_t>({2, 1}, std::span<const int32_t>(std::array<int32_t, 2>{1, 0}))},
      {"output_rows", vector_of<int64_t>({1, 4})},
  };
  for (const ir::Value input : packed.inputs()) {
    const std::string& name = packed.name(input);
    const op::TypeInfo& type = packed.type(input);
    if (inputs.count(name)) continue;
    if (!name.starts_with("key_cache.") && !name.starts_with("value_cache.")) {
      fail(ErrorCode::unsupported, "input \"{}\" is not one of a packed graph", name);
    }
    tensor::Dims dims = {2};  // blocks
    for (size_t i = 1; i < type.shape.size(); ++i) dims.push_back(type.shape[i].value());
    Tensor cache(type.dtype, std::move(dims));
    fill_with_noise(cache, name);
    inputs.emplace(name, std::move(cache));
  }
  return inputs;
}

}  // namespace lathe::opt
