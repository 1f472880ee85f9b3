// GatherBlockQuantized: rows of a table in blocks of 2, 4 or 8 bits, dequantised after they were taken.
#include "base/error.h"
#include "frontend/contrib/packed_codes.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

enum Input : size_t { kData, kIndices, kScales, kZeroPoints };

int64_t axis_of(const ContribNode& n, std::string_view name, int64_t otherwise, int64_t rank) {
  const int64_t axis = n.get_int(name, otherwise);
  if (axis < -rank || axis >= rank) fail(ErrorCode::invalid_input, "{} is {} of rank {}", name, axis, rank);
  return axis < 0 ? axis + rank : axis;
}

// All but the last.
tensor::Dims leading_dims(const ContribNode& n, size_t i) {
  tensor::Dims dims;
  for (int axis = 0; axis + 1 < int(n.rank(i)); ++axis) dims.push_back(n.number(i, axis));
  return dims;
}

// The u8 input `i` [.., bytes], each byte holding 8 / bits codes, as u8 codes [.., count].
Value unpack_last_axis(const ContribNode& n, size_t i, int64_t bits, int64_t count) {
  tensor::Dims dims = leading_dims(n, i);
  const int64_t rows = tensor::element_count(dims);
  dims.push_back(count);
  return n.b.reshape(unpack(n.b, n.in(i), bits, rows, count), dims);
}

// Codes, and zero points of the same type or none.
struct Codes {
  Value data;
  Value zeros;
};

Codes packed_codes(const ContribNode& n, int64_t quantize_axis, int64_t block) {
  const Builder& b = n.b;
  const int64_t bits = n.get_int("bits", 4);
  if (bits != 2 && bits != 4 && bits != 8) fail(ErrorCode::unsupported, "attribute \"bits\" is {}", bits);
  const int last = int(n.rank(kData)) - 1;
  const int64_t columns = n.number(kData, -1) * (8 / bits);
  const bool along_last = quantize_axis == last;
  const int64_t zero_columns = along_last ? (columns + block - 1) / block : columns;
  if (n.is_constant(kData) && !n.has(kZeroPoints)) {  // the usual case stays packed
    tensor::Dims dims = leading_dims(n, kData);
    const int64_t rows = tensor::element_count(dims);
    const auto matrix = packed_source(b.graph().source(n.in(kData)), bits, rows, columns, true);
    dims.push_back(columns);
    const std::string name = b.graph().source_name(n.in(kData));
    return {b.graph().add_constant(name, tensor::reshaped_source(matrix, dims)), Value()};
  }
  const Value data = unpack_last_axis(n, kData, bits, columns);
  if (n.has(kZeroPoints)) return {data, unpack_last_axis(n, kZeroPoints, bits, zero_columns)};
  const Value middle = b.scalar(double(int64_t{1} << (bits - 1)), DType::u8);
  return {data, b.node("Expand", {middle, b.node("Shape", {n.in(kScales)})})};
}

Results expand(const ContribNode& n) {
  const Builder& b = n.b;
  const DType dtype = n.dtype(kData);
  if (dtype != DType::u8 && dtype != DType::u4 && dtype != DType::i4) {
    n.refuse_input(kData, "only integers of 4 bits and packed ones have an expansion");
  }
  const int64_t rank = int64_t(n.rank(kData));
  const int64_t gather = axis_of(n, "gather_axis", 0, rank);
  const int64_t along = axis_of(n, "quantize_axis", 1, rank);
  const int64_t block = n.get_int("block_size", 128);
  if (block < 16 || (block & (block - 1)) != 0) fail(ErrorCode::invalid_input, "block_size is {}", block);
  const Codes codes = dtype == DType::u8 ? packed_codes(n, along, block) : Codes{n.in(kData), n.in(kZeroPoints)};
  const auto taken = [&](Value x) { return b.node("Gather", {x, n.in(kIndices)}, {{"axis", gather}}); };
  const auto dequantized = [&](const std::vector<Value>& inputs, int64_t axis) {
    return b.node("DequantizeLinear", inputs, {{"axis", axis}, {"block_size", block}});
  };
  if (gather == along) {  // blocks of what is taken are not blocks of the table
    std::vector<Value> inputs = {codes.data, n.in(kScales)};
    if (codes.zeros) inputs.push_back(codes.zeros);
    return {taken(dequantized(inputs, along))};
  }
  std::vector<Value> inputs = {taken(codes.data), taken(n.in(kScales))};
  if (codes.zeros) inputs.push_back(taken(codes.zeros));
  return {dequantized(inputs, along < gather ? along : along + int64_t(n.rank(kIndices)) - 1)};
}

constexpr ContribOp kOps[] = {
    {.name = "GatherBlockQuantized",
     .inputs = "data indices scales zero_points?",
     .attributes = "bits block_size gather_axis quantize_axis",
     .expand = expand},
};

}  // namespace

std::span<const ContribOp> gather_block_quantized_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
