// GatherBlockQuantized: rows of a table in blocks of 2, 4 or 8 bits, dequantised after they were taken.
#include "base/checked.h"
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

struct Form {
  int64_t bits;
  int64_t gather;  // axis
  int64_t along;   // axis of the blocks
  int64_t block;
  int64_t middle;  // the zero point where none is given
};

// 4-bit values as u8, signed ones with 8 added: ONNX's Gather takes no narrower type. A constant that is reshaped, as
// those are whose rows end within a byte, is widened before: ONNX Runtime reshapes no narrower type either.
Value widened(const Builder& b, Value x) {
  const ir::NodeId producer = b.graph().producer(x);
  if (producer && b.graph().node(producer).op == "Reshape") {
    const ir::Node reshape = b.graph().node(producer);
    return b.node("Reshape", {widened(b, reshape.inputs[0]), reshape.inputs[1]}, reshape.attributes);
  }
  if (b.graph().type(x).dtype != DType::i4) return b.cast(x, DType::u8);
  return b.cast(b.add(b.cast(x, DType::i8), b.scalar(8, DType::i8)), DType::u8);
}

// What to take rows of: bytes, each of 8 / bits codes along the last axis, or widened codes where that cannot be.
struct Table {
  Value bytes;
  int64_t bits;     // of a code within a byte
  int64_t columns;  // codes along the last axis
};

Table table_of(const ContribNode& n, size_t i, const Form& form, int64_t packed_columns) {
  const Builder& b = n.b;
  if (n.dtype(i) == DType::u8) return {n.in(i), form.bits, packed_columns};
  const int64_t columns = n.number(i, -1);
  const bool whole = columns % 2 == 0 && form.gather + 1 < int64_t(n.rank(i));
  if (!n.is_constant(i) || !whole) return {widened(b, n.in(i)), 8, columns};
  const tensor::SourcePtr bytes = packed_bytes(b.graph().source(n.in(i)));
  return {b.graph().add_constant(std::string(b.graph().source_name(n.in(i))), bytes), 4, columns};
}

// u8 codes of the rows that the indices name.
Value taken_codes(const ContribNode& n, const Table& table, const Form& form) {
  const Value bytes = n.b.node("Gather", {table.bytes, n.in(kIndices)}, {{"axis", form.gather}});
  return unpack(n.b, bytes, table.bits, table.columns);
}

// Rows that are taken before they are dequantised.
Value take_first(const ContribNode& n, const Form& form) {
  const Builder& b = n.b;
  const int64_t last = int64_t(n.rank(kData)) - 1;
  const int64_t columns = n.number(kData, -1) * (8 / form.bits);
  const Value scales = b.node("Gather", {n.in(kScales), n.in(kIndices)}, {{"axis", form.gather}});
  std::vector<Value> inputs = {taken_codes(n, table_of(n, kData, form, columns), form), scales};
  if (n.has(kZeroPoints)) {
    const int64_t zero_columns = form.along == last ? ceil_div(columns, form.block) : columns;
    inputs.push_back(taken_codes(n, table_of(n, kZeroPoints, form, zero_columns), form));
  } else if (form.middle != 0) {
    inputs.push_back(b.node("Expand", {b.scalar(double(form.middle), DType::u8), b.node("Shape", {scales})}));
  }
  const int64_t axis = form.along < form.gather ? form.along : form.along + int64_t(n.rank(kIndices)) - 1;
  return b.node("DequantizeLinear", inputs, {{"axis", axis}, {"block_size", form.block}});
}

// Blocks along the axis that is gathered: blocks of what is taken are not blocks of the table.
Value dequantize_first(const ContribNode& n, const Form& form) {
  const Builder& b = n.b;
  if (form.bits < 8 && n.dtype(kData) == DType::u8) n.bad_input(kData, "packed codes along the axis that is gathered");
  std::vector<Value> inputs = {n.in(kData), n.in(kScales)};
  if (n.has(kZeroPoints)) {
    inputs.push_back(n.in(kZeroPoints));
  } else if (n.dtype(kData) == DType::u8) {
    inputs.push_back(b.node("Expand", {b.scalar(double(form.middle), DType::u8), b.node("Shape", {n.in(kScales)})}));
  }
  const Value table = b.node("DequantizeLinear", inputs, {{"axis", form.along}, {"block_size", form.block}});
  return b.node("Gather", {table, n.in(kIndices)}, {{"axis", form.gather}});
}

Results expand(const ContribNode& n) {
  const DType dtype = n.dtype(kData);
  if (dtype != DType::u8 && dtype != DType::u4 && dtype != DType::i4) {
    n.refuse_input(kData, "only integers of 4 bits and packed ones have an expansion");
  }
  if (n.has(kZeroPoints) && n.dtype(kZeroPoints) != dtype) n.bad_input(kZeroPoints, "its type is not that of the data");
  const int64_t rank = int64_t(n.rank(kData));
  Form form{n.get_int("bits", 4), axis_of(n, "gather_axis", 0, rank), axis_of(n, "quantize_axis", 1, rank),
            n.get_int("block_size", 128), 0};
  if (dtype != DType::u8) form.bits = 8;  // what a byte holds is known by the type
  if (form.bits != 2 && form.bits != 4 && form.bits != 8) {
    fail(ErrorCode::unsupported, "attribute \"bits\" is {}", form.bits);
  }
  if (dtype != DType::u4) form.middle = dtype == DType::i4 ? 8 : int64_t{1} << (form.bits - 1);
  if (form.block < 16 || (form.block & (form.block - 1)) != 0) {
    fail(ErrorCode::invalid_input, "block_size is {}", form.block);
  }
  return {form.gather == form.along ? dequantize_first(n, form) : take_first(n, form)};
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
