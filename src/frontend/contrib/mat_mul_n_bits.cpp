// MatMulNBits: A times the transpose of a matrix [N, K] in blocks of 2, 4 or 8 bits, plus a bias. The matrix is not
// rounded to A's type, and the result only once, as ONNX Runtime's CPU kernel has it.
#include "base/checked.h"
#include "base/error.h"
#include "frontend/contrib/packed_codes.h"

namespace lathe::frontend {
namespace {

enum Input : size_t { kA, kB, kScales, kZeroPoints, kGroupIndex, kBias };

PackedMatrix matrix_of(const ContribNode& n) {
  PackedMatrix m{n.get_int("bits", 4), n.get_int("N"), n.get_int("K"), n.get_int("block_size")};
  if (m.bits != 2 && m.bits != 4 && m.bits != 8) {
    fail(ErrorCode::unsupported, "attribute \"bits\" is {}: 2, 4 and 8 have an expansion", m.bits);
  }
  constexpr int64_t kLimit = int64_t{1} << 29;  // N * K * bits does not overflow
  const bool power = m.block_size >= 16 && m.block_size < kLimit && (m.block_size & (m.block_size - 1)) == 0;
  if (!power || m.rows < 1 || m.columns < 1 || m.rows > kLimit || m.columns > kLimit) {
    fail(ErrorCode::invalid_input, "N = {}, K = {}, block_size = {}", m.rows, m.columns, m.block_size);
  }
  m.columns = ceil_div(m.columns, m.block_size) * m.block_size;  // the last block is stored whole
  return m;
}

Results expand(const ContribNode& n) {
  const Builder& b = n.b;
  n.no_input(kGroupIndex, "columns in another order than they are stored have no expansion");
  n.only("weight_prepacked", 0, "the weights lie in the layout of one kind of GPU");
  const PackedMatrix m = matrix_of(n);
  const int64_t k = n.get_int("K");
  for (const size_t i : {kScales, kZeroPoints}) {
    if (!n.has(i) || (i == kZeroPoints && n.dtype(i) == tensor::DType::u8)) continue;
    const tensor::Dim count = tensor::element_count(n.shape(i));
    if (count.is_constant() && count.value() != m.rows * m.blocks()) {
      n.bad_input(i, fmt::format("expected {} numbers, one for each block", m.rows * m.blocks()));
    }
  }
  Value w = dequantize(b, m, n.in(kB), n.in(kScales), n.in(kZeroPoints));  // [N, K and what fills its last block]
  if (k < m.columns) w = b.slice(w, 0, k, 1);
  const auto wide = [&](Value x) { return b.cast(x, tensor::DType::f32); };
  const Value y = b.node("MatMul", {wide(n.in(kA)), b.transpose(w, {1, 0})});
  return {b.cast(n.has(kBias) ? b.add(y, wide(n.in(kBias))) : y, n.dtype(kA))};
}

// accuracy_level permits A to be rounded, which is not done here.
constexpr ContribOp kOps[] = {
    {.name = "MatMulNBits",
     .inputs = "A B scales zero_points? g_idx? bias?",
     .attributes = "K N accuracy_level bits block_size weight_prepacked",
     .expand = expand},
};

}  // namespace

std::span<const ContribOp> mat_mul_n_bits_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
