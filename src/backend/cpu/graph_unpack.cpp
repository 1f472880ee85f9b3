#include "backend/cpu/graph_unpack.h"

#include "backend/cpu/graph_layouts.h"
#include "backend/cpu/linear.h"
#include "base/checked.h"

namespace lathe::backend::cpu {
namespace {

using tensor::Dims;

constexpr int64_t kMaxElements = int64_t{1} << 55;  // sizes below do not overflow

// [features, columns] of a constant whose rows are all but the first axis.
struct Matrix {
  int64_t rows, columns;
};
Matrix matrix_of(const Dims& dims, size_t min_rank) {
  const int64_t count = tensor::element_count(std::span<const int64_t>(dims));
  if (dims.size() < min_rank || count > kMaxElements || dims[0] > kMaxElements) {
    fail(ErrorCode::invalid_input, "weights {}", tensor::to_string(std::span<const int64_t>(dims)));
  }
  return {dims[0], dims[0] == 0 ? 0 : count / dims[0]};
}

Matrix group_matrix(const Dims& dims, int64_t group) {
  Matrix matrix = matrix_of(dims, 3);
  if (group < 1 || dims[0] % group != 0) {
    fail(ErrorCode::invalid_input, "weights {} in {} groups", tensor::to_string(std::span<const int64_t>(dims)), group);
  }
  matrix.rows /= group;
  return matrix;
}

// out[i] = packed[place(first + i)]
template <class Place>
void gather(std::span<const std::byte> packed, int64_t first, int64_t count, std::span<std::byte> out, Place&& place) {
  LATHE_CHECK(out.size() == size_t(count) * sizeof(float), "{} bytes for {} elements", out.size(), count);
  const auto* from = reinterpret_cast<const float*>(packed.data());
  auto* to = reinterpret_cast<float*>(out.data());
  for (int64_t i = 0; i < count; ++i) to[i] = from[place(first + i)];
}

}  // namespace

size_t linear_size(const Dims& dims, int64_t) {
  const Matrix matrix = matrix_of(dims, 2);
  return packed_size(Layout::f32_panel, matrix.rows, matrix.columns);
}

void unpack_linear(const Dims& dims, int64_t, std::span<const std::byte> packed, int64_t first, int64_t count,
                   std::span<std::byte> out) {
  const int64_t columns = matrix_of(dims, 2).columns;
  gather(packed, first, count, out, [&](int64_t i) {
    const int64_t row = i / columns, column = i % columns;
    return (row / kPanelRows * columns + column) * kPanelRows + row % kPanelRows;
  });
}

size_t depthwise_size(const Dims& dims, int64_t) {
  const Matrix matrix = matrix_of(dims, 3);  // [channels, taps]
  return size_t(align_up(matrix.rows, int64_t{16}) * matrix.columns) * sizeof(float);
}

void unpack_depthwise(const Dims& dims, int64_t, std::span<const std::byte> packed, int64_t first, int64_t count,
                      std::span<std::byte> out) {
  const Matrix matrix = matrix_of(dims, 3);
  const int64_t stride = align_up(matrix.rows, int64_t{16});
  gather(packed, first, count, out, [&](int64_t i) { return i % matrix.columns * stride + i / matrix.columns; });
}

size_t conv_size(const Dims& dims, int64_t group) {
  const Matrix matrix = group_matrix(dims, group);
  return size_t(conv_panel_group(matrix.rows, matrix.columns) * group) * sizeof(float);
}

// Element (feature, channel, tap) lies in its group's panel at column tap x channels + channel.
void unpack_conv(const Dims& dims, int64_t group, std::span<const std::byte> packed, int64_t first, int64_t count,
                 std::span<std::byte> out) {
  const Matrix matrix = group_matrix(dims, group);
  const int64_t channels = dims[1];
  const int64_t taps = channels == 0 ? 0 : matrix.columns / channels;
  const int64_t group_floats = conv_panel_group(matrix.rows, matrix.columns);
  gather(packed, first, count, out, [&](int64_t i) {
    const int64_t feature = i / matrix.columns, rest = i % matrix.columns;
    const int64_t row = feature % matrix.rows, column = rest % taps * channels + rest / taps;
    return feature / matrix.rows * group_floats + (row / kPanelRows * matrix.columns + column) * kPanelRows +
           row % kPanelRows;
  });
}

}  // namespace lathe::backend::cpu
