#include "frontend/contrib/packed_codes.h"

#include "base/error.h"

namespace lathe::frontend {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::SourcePtr;
using tensor::Tensor;

DType code_type(int64_t bits, bool is_signed) {
  switch (bits) {
    case 2:
      return is_signed ? DType::i2 : DType::u2;
    case 4:
      return is_signed ? DType::i4 : DType::u4;
    default:
      return is_signed ? DType::i8 : DType::u8;
  }
}

// The same bytes, each with some bits flipped, as elements of another type. The top bit of each code flipped is the
// code less 2^(bits - 1) in two's complement.
class RetypedSource final : public tensor::Source {
 public:
  // `base` has as many rows as `dims`.
  RetypedSource(SourcePtr base, DType dtype, Dims dims, std::byte flip)
      : Source(dtype, tensor::Encoding::plain, std::move(dims), base->origin()), base_(std::move(base)), flip_(flip) {
    LATHE_CHECK(base_->rows() == rows() && base_->row_size() == row_size(), "{}: rows of {} bytes as rows of {}",
                origin(), base_->row_size(), row_size());
  }

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    base_->read_rows(first, count, out);
    for (std::byte& byte : out) byte ^= flip_;
  }
  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    const auto in_base = [&](int64_t of_this) {
      return of_this * tensor::bits(dtype()) / tensor::bits(base_->dtype());
    };
    base_->read_part(first, count, in_base(begin), in_base(elements), out);
    for (std::byte& byte : out) byte ^= flip_;
  }
  std::optional<std::span<const std::byte>> contiguous() const override {
    return flip_ == std::byte{0} ? base_->contiguous() : std::nullopt;
  }
  void drop_rows(int64_t first, int64_t count) const override { base_->drop_rows(first, count); }

 private:
  SourcePtr base_;
  std::byte flip_;
};

int64_t bytes_for(int64_t codes, int64_t bits) {
  return (codes * bits + 7) / 8;
}

// A constant u8 tensor as [rows, columns] of `bits` each; with the middle value taken off (signed) or as it is.
SourcePtr packed_source(const SourcePtr& bytes, int64_t bits, int64_t rows, int64_t columns, bool centred) {
  static constexpr unsigned kTopBits[] = {0, 0, 0xaa, 0, 0x88, 0, 0, 0, 0x80};
  const std::byte flip{uint8_t(centred ? kTopBits[bits] : 0)};
  return std::make_shared<RetypedSource>(tensor::reshaped_source(bytes, {rows, bytes_for(columns, bits)}),
                                         code_type(bits, centred), Dims{rows, columns}, flip);
}

// Packed rows that end within a byte, as one row of codes without gaps.
Tensor joined_rows(const SourcePtr& packed, const PackedMatrix& m) {
  const Tensor bytes = tensor::load(*packed);
  const std::span<const uint8_t> from = bytes.data<uint8_t>();
  Tensor joined(code_type(m.bits, false), {m.rows * m.blocks()});
  const std::span<std::byte> to = joined.mutable_bytes();
  const int64_t per_byte = 8 / m.bits;
  const int64_t row_bytes = bytes_for(m.blocks(), m.bits);
  for (int64_t i = 0; i < m.rows * m.blocks(); ++i) {
    const int64_t row = i / m.blocks(), column = i % m.blocks();
    const unsigned byte = from[size_t(row * row_bytes + column / per_byte)];
    const unsigned code = byte >> unsigned(column % per_byte * m.bits) & ((1u << unsigned(m.bits)) - 1);
    to[size_t(i / per_byte)] |= std::byte(code << unsigned(i % per_byte * m.bits));
  }
  return joined;
}

void require_bytes(const Builder& b, Value packed, int64_t bytes, std::string_view what) {
  const op::TypeInfo& type = b.graph().type(packed);
  const tensor::Dim count = tensor::element_count(type.shape);
  if (type.dtype != DType::u8 || (count.is_constant() && count.value() != bytes)) {
    fail(ErrorCode::invalid_input, "{}: expected {} bytes, found {}", what, bytes, op::to_string(type));
  }
}

// Zero points of the codes' own type for constants: [rows, blocks], or [rows * blocks] where rows end within a byte.
Value constant_zero_points(const Builder& b, const PackedMatrix& m, Value zero_points) {
  const SourcePtr source = b.graph().source(zero_points);
  const std::string name = b.graph().source_name(zero_points);
  if (m.blocks() * m.bits % 8 == 0) {
    return b.graph().add_constant(name, packed_source(source, m.bits, m.rows, m.blocks(), false));
  }
  return b.graph().add_constant(name, joined_rows(source, m));
}

Value reshaped(const Builder& b, Value x, const std::vector<int64_t>& dims) {
  return b.graph().type(x).shape == tensor::to_shape(dims) ? x : b.reshape(x, dims);
}

// u8 [rows, columns] of bytes in any shape.
Value unpack_rows(const Builder& b, Value packed, int64_t bits, int64_t rows, int64_t columns) {
  return unpack(b, b.reshape(packed, {rows, bytes_for(columns, bits)}), bits, columns);
}

// DequantizeLinear with a result in f32, also of narrower scales.
Value to_floats(const Builder& b, std::vector<Value> inputs, op::Attributes attributes) {
  if (b.graph().type(inputs[1]).dtype != DType::f32) attributes.set("output_dtype", int64_t(DType::f32));
  return b.node("DequantizeLinear", std::move(inputs), std::move(attributes));
}

// Constants with integer zero points, or none.
Value dequantize_constant(const Builder& b, const PackedMatrix& m, Value codes, Value scales, Value zero_points) {
  const SourcePtr source = b.graph().source(codes);
  const std::string name = b.graph().source_name(codes);
  const Value zeros = zero_points ? constant_zero_points(b, m, zero_points) : Value();
  // A zero point for each row of [rows * blocks, block_size] needs no rows of its own.
  const bool by_row = zeros && b.graph().type(zeros).shape.size() == 1;
  const SourcePtr typed = by_row ? packed_source(source, m.bits, m.rows * m.blocks(), m.block_size, false)
                                 : packed_source(source, m.bits, m.rows, m.columns, !zeros);
  std::vector<Value> inputs = {b.graph().add_constant(name, typed)};
  inputs.push_back(reshaped(b, scales, by_row ? std::vector{m.rows * m.blocks()} : std::vector{m.rows, m.blocks()}));
  if (zeros) inputs.push_back(zeros);
  if (!by_row) return to_floats(b, std::move(inputs), {{"axis", int64_t{1}}, {"block_size", m.block_size}});
  return b.reshape(to_floats(b, std::move(inputs), {{"axis", int64_t{0}}}), {m.rows, m.columns});
}

// (codes - zero points) * scales, of zero points that are no integers.
Value dequantize_by_real(const Builder& b, const PackedMatrix& m, Value codes, Value scales, Value zero_points) {
  Value wide;
  if (b.graph().is_constant(codes)) {
    const SourcePtr typed = packed_source(b.graph().source(codes), m.bits, m.rows * m.blocks(), m.block_size, false);
    wide = b.graph().add_constant(std::string(b.graph().source_name(codes)), typed);
  } else {
    wide = unpack_rows(b, codes, m.bits, m.rows * m.blocks(), m.block_size);
  }
  const auto column = [&](Value x) { return b.cast(b.reshape(x, {m.rows * m.blocks(), 1}), DType::f32); };
  const Value shifted = b.sub(b.cast(wide, DType::f32), column(zero_points));
  return b.reshape(b.mul(shifted, column(scales)), {m.rows, m.columns});
}

}  // namespace

SourcePtr packed_bytes(const SourcePtr& codes) {
  Dims dims = codes->dims();
  if (dims.empty()) fail(ErrorCode::invalid_input, "packed codes: expected an axis of bytes, found a scalar");
  dims.back() /= 2;
  const std::byte flip{uint8_t(codes->dtype() == DType::i4 ? 0x88 : 0)};
  return std::make_shared<RetypedSource>(codes, DType::u8, std::move(dims), flip);
}

Value unpack(const Builder& b, Value bytes, int64_t bits, int64_t columns) {
  if (bits == 8) return bytes;
  const int64_t rank = int64_t(b.graph().type(bytes).shape.size());
  if (rank == 0) fail(ErrorCode::invalid_input, "packed codes: expected an axis of bytes, found a scalar");
  std::vector<Value> parts;  // [.., bytes, 1] each
  const auto number = [&](int64_t value) { return b.scalar(double(value), DType::u8); };
  for (int64_t shift = 0; shift < 8; shift += bits) {
    const Value down = b.node("BitShift", {bytes, number(shift)}, {{"direction", std::string("RIGHT")}});
    parts.push_back(b.unsqueeze(b.node("BitwiseAnd", {down, number((1 << bits) - 1)}), {rank}));
  }
  const int64_t stored = bytes_for(columns, bits) * (8 / bits);
  std::vector<int64_t> dims(size_t(rank), 0);
  dims.back() = stored;
  const Value codes = b.reshape(b.concat(parts, rank), dims);
  return stored == columns ? codes : b.slice(codes, 0, columns, rank - 1);
}

Value dequantize(const Builder& b, const PackedMatrix& m, Value codes, Value scales, Value zero_points) {
  require_bytes(b, codes, m.rows * m.columns * m.bits / 8, "codes");
  const bool packed_zeros = zero_points && b.graph().type(zero_points).dtype == DType::u8;
  if (zero_points && !packed_zeros) return dequantize_by_real(b, m, codes, scales, zero_points);
  if (zero_points) require_bytes(b, zero_points, m.rows * bytes_for(m.blocks(), m.bits), "zero points");
  const bool constant = b.graph().is_constant(codes) && (!zero_points || b.graph().is_constant(zero_points));
  if (constant) return dequantize_constant(b, m, codes, scales, zero_points);
  Value zeros;
  if (zero_points) {
    zeros = unpack_rows(b, zero_points, m.bits, m.rows, m.blocks());
  } else {
    zeros = b.node("Expand", {b.scalar(double(int64_t{1} << (m.bits - 1)), DType::u8), b.ints({m.rows, m.blocks()})});
  }
  return to_floats(b,
                   {unpack_rows(b, codes, m.bits, m.rows, m.columns), reshaped(b, scales, {m.rows, m.blocks()}), zeros},
                   {{"axis", int64_t{1}}, {"block_size", m.block_size}});
}

}  // namespace lathe::frontend
