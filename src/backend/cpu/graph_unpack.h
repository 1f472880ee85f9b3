// Sizes and inverses of the f32 layouts of graph_layouts.h, as GraphLayout has them.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/shape.h"

namespace lathe::backend::cpu {

size_t linear_size(const tensor::Dims& dims, int64_t variant);
size_t depthwise_size(const tensor::Dims& dims, int64_t variant);
size_t conv_size(const tensor::Dims& dims, int64_t group);

void unpack_linear(const tensor::Dims& dims, int64_t variant, std::span<const std::byte> packed, int64_t first,
                   int64_t count, std::span<std::byte> out);
void unpack_depthwise(const tensor::Dims& dims, int64_t variant, std::span<const std::byte> packed, int64_t first,
                      int64_t count, std::span<std::byte> out);
void unpack_conv(const tensor::Dims& dims, int64_t group, std::span<const std::byte> packed, int64_t first,
                 int64_t count, std::span<std::byte> out);

}  // namespace lathe::backend::cpu
