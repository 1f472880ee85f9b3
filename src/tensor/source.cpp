#include "tensor/source.h"
#include "tensor/load_in_place.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "tensor/convert.h"
#include "tensor/transpose.h"

namespace lathe::tensor {
namespace {

// Elements that pass through a temporary buffer at a time: 256 KiB of f32, about a second-level cache.
constexpr int64_t kChunkElements = 1 << 16;
constexpr int64_t kRowsAhead = 8;

// Bytes of `elements` values as stored.
size_t stored_bytes(DType dtype, Encoding encoding, int64_t elements) {
  return encoding == Encoding::plain ? byte_size(dtype, elements) : row_bytes(encoding, elements);
}

size_t stored_bytes(const Source& source, int64_t elements) {
  return stored_bytes(source.dtype(), source.encoding(), elements);
}

void check_part(const Source& source, int64_t first, int64_t count, int64_t begin, int64_t elements,
                size_t out) {
  LATHE_CHECK(first >= 0 && count >= 0 && first <= source.rows() - count, "rows {} + {} of {}", first, count,
              source.rows());
  LATHE_CHECK(begin >= 0 && elements >= 0 && begin <= source.row_elements() - elements,
              "elements {} + {} of {}", begin, elements, source.row_elements());
  LATHE_CHECK(out == size_t(count) * stored_bytes(source, elements), "{} rows of {} elements into {} bytes",
              count, elements, out);
}

// The stored elements at `in` as floats.
void decode(DType dtype, Encoding encoding, const std::byte* in, int64_t elements, float* out) {
  if (encoding == Encoding::plain) return widen_to_f32(dtype, in, elements, out);
  const BlockFormat& format = block_format(encoding);
  if (!format.dequantise) fail(ErrorCode::unsupported, "no decoder for {}", format.name);
  format.dequantise(in, elements / format.elements, out);
}

// Calls body(first, count) for consecutive groups of rows of about kChunkElements elements.
template <class Body>
void for_row_groups(int64_t first, int64_t count, int64_t row_elements, Body&& body) {
  const int64_t group = std::max<int64_t>(kChunkElements / std::max<int64_t>(row_elements, 1), 1);
  for (int64_t done = 0; done < count; done += group) body(first + done, std::min(group, count - done));
}

// Bytes in memory, in order: a mapped file, a tensor, or another contiguous source under other dims.
class ContiguousSource final : public Source {
 public:
  ContiguousSource(DType dtype, Encoding encoding, Dims dims, std::span<const std::byte> bytes,
                   std::shared_ptr<const MappedFile> file, Tensor owner, std::string origin)
      : Source(dtype, encoding, std::move(dims), std::move(origin)),
        bytes_(bytes),
        file_(std::move(file)),
        owner_(std::move(owner)) {
    if (bytes_.size() != byte_size()) {
      fail(ErrorCode::invalid_input, "tensor \"{}\": {} {} {} needs {} bytes, found {}", this->origin(),
           to_string(dtype), to_string(encoding), to_string(std::span(this->dims())), byte_size(),
           bytes_.size());
    }
  }

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    check_part(*this, first, count, 0, row_elements(), out.size());
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + size_t(first) * row_size(), out.size());
  }

  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    check_part(*this, first, count, begin, elements, out.size());
    if (out.empty()) return;
    const size_t part = stored_bytes(*this, elements);
    const std::byte* in = bytes_.data() + size_t(first) * row_size() + stored_bytes(*this, begin);
    const size_t stride = row_size();
    for (int64_t row = 0; row < count; ++row) {
      // Rows lie on different pages, where the hardware does not prefetch.
      if (row + kRowsAhead < count) __builtin_prefetch(in + size_t(row + kRowsAhead) * stride);
      std::memcpy(out.data() + size_t(row) * part, in + size_t(row) * stride, part);
    }
  }

  std::optional<std::span<const std::byte>> contiguous() const override { return bytes_; }

  void drop_rows(int64_t first, int64_t count) const override {
    LATHE_CHECK(first >= 0 && count >= 0 && first <= rows() - count);
    if (file_) file_->drop(bytes_.subspan(size_t(first) * row_size(), size_t(count) * row_size()));
  }

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<const MappedFile> file_;  // may be null
  Tensor owner_;                            // may be undefined
};

// See row_mapped_source.
class RowMappedSource final : public Source {
 public:
  RowMappedSource(SourcePtr base, Dims dims, std::function<int64_t(int64_t)> map)
      : Source(base->dtype(), base->encoding(), std::move(dims), base->origin()),
        base_(std::move(base)),
        map_(std::move(map)) {
    LATHE_CHECK(row_elements() == base_->row_elements(), "rows of {} elements mapped from rows of {}",
                row_elements(), base_->row_elements());
  }

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    check_part(*this, first, count, 0, row_elements(), out.size());
    for_runs(first, count, [&](int64_t row, int64_t base_row, int64_t run) {
      base_->read_rows(base_row, run,
                       out.subspan(size_t(row - first) * row_size(), size_t(run) * row_size()));
    });
  }

  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    check_part(*this, first, count, begin, elements, out.size());
    const size_t part = stored_bytes(*this, elements);
    for_runs(first, count, [&](int64_t row, int64_t base_row, int64_t run) {
      base_->read_part(base_row, run, begin, elements,
                       out.subspan(size_t(row - first) * part, size_t(run) * part));
    });
  }

  void drop_rows(int64_t first, int64_t count) const override {
    for_runs(first, count, [&](int64_t, int64_t base_row, int64_t run) { base_->drop_rows(base_row, run); });
  }

 private:
  // Calls body(row, base row, rows) for maximal runs of rows that follow each other in base too.
  template <class Body>
  void for_runs(int64_t first, int64_t count, Body&& body) const {
    int64_t row = first;
    while (row < first + count) {
      const int64_t base_row = map_(row);
      LATHE_CHECK(base_row >= 0 && base_row < base_->rows(), "row {} maps to {} of {}", row, base_row,
                  base_->rows());
      int64_t run = 1;
      while (row + run < first + count && base_row + run < base_->rows() && map_(row + run) == base_row + run)
        ++run;
      body(row, base_row, run);
      row += run;
    }
  }

  SourcePtr base_;
  std::function<int64_t(int64_t)> map_;
};

// See converted_source.
class ConvertedSource final : public Source {
 public:
  ConvertedSource(SourcePtr base, DType dtype)
      : Source(dtype, Encoding::plain, base->dims(), base->origin()), base_(std::move(base)) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    check_part(*this, first, count, 0, row_elements(), out.size());
    if (row_elements() > kChunkElements) return read_part(first, count, 0, row_elements(), out);
    std::vector<float> floats(size_t(std::min(count * row_elements(), kChunkElements)));
    for_row_groups(first, count, row_elements(), [&](int64_t row, int64_t rows) {
      const std::span<float> values = std::span(floats).first(size_t(rows * row_elements()));
      base_->read_rows_f32(row, rows, values);
      narrow_from_f32(values.data(), rows * row_elements(), dtype(),
                      out.data() + size_t(row - first) * row_size());
    });
  }

  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    check_part(*this, first, count, begin, elements, out.size());
    // Whole blocks of base around the part, in pieces of bounded size.
    const bool plain = base_->encoding() == Encoding::plain;
    const int64_t block =
        plain ? 8 / std::min(bits(base_->dtype()), 8) : block_format(base_->encoding()).elements;
    const int64_t longest = std::min(kChunkElements, align_up(elements, block) + block);
    std::vector<std::byte> stored(stored_bytes(*base_, longest));
    std::vector<float> floats(static_cast<size_t>(longest));
    const size_t width = tensor::byte_size(dtype(), 1);
    std::byte* to = out.data();
    for (int64_t row = first; row < first + count; ++row) {
      for (int64_t at = begin; at < begin + elements;) {
        const int64_t from = at / block * block;
        // The last block of a plain 4-bit row may be cut short.
        const int64_t limit = std::min(align_up(begin + elements, block), base_->row_elements());
        const int64_t piece = std::min(limit - from, longest);
        const std::span<std::byte> buffer = std::span(stored).first(stored_bytes(*base_, piece));
        base_->read_part(row, 1, from, piece, buffer);
        decode(base_->dtype(), base_->encoding(), buffer.data(), piece, floats.data());
        const int64_t used = std::min(from + piece, begin + elements) - at;
        narrow_from_f32(floats.data() + (at - from), used, dtype(), to);
        to += size_t(used) * width;
        at += used;
      }
    }
  }

  void drop_rows(int64_t first, int64_t count) const override { base_->drop_rows(first, count); }

  const SourcePtr& base() const { return base_; }

 private:
  SourcePtr base_;
};

// The conversion of a plain source that `source` is, else nullptr: what only moves rows and columns goes below it, so
// that the narrow values can be had back.
const ConvertedSource* find_conversion(const SourcePtr& source) {
  const auto* converted = dynamic_cast<const ConvertedSource*>(source.get());
  return converted && converted->base()->encoding() == Encoding::plain ? converted : nullptr;
}

// See transposed_source.
class TransposedSource final : public Source {
 public:
  explicit TransposedSource(SourcePtr base)
      : Source(base->dtype(), Encoding::plain, {base->dims()[1], base->dims()[0]}, base->origin()),
        base_(std::move(base)) {}

  const SourcePtr& base() const { return base_; }

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    read_part(first, count, 0, row_elements(), out);
  }

  // Rows of this are columns of base: a panel of base, transposed.
  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    check_part(*this, first, count, begin, elements, out.size());
    if (out.empty()) return;
    const size_t width = tensor::byte_size(dtype(), 1);
    const size_t out_stride = size_t(elements) * width;
    if (const auto bytes = base_->contiguous()) {
      const std::byte* in = bytes->data() + size_t(begin) * base_->row_size() + size_t(first) * width;
      transpose(in, base_->row_size(), elements, count, width, out.data(), out_stride);
      return;
    }
    // Whole tiles of the transposition: a multiple of 64 rows where the panel is not too wide for that.
    const int64_t block = std::min(std::max<int64_t>(kChunkElements / count / 64 * 64, 64), elements);
    std::vector<std::byte> panel(size_t(block) * size_t(count) * width);
    for (int64_t row = 0; row < elements; row += block) {
      const int64_t rows = std::min(block, elements - row);
      base_->read_part(begin + row, rows, first, count,
                       std::span(panel).first(size_t(rows) * size_t(count) * width));
      transpose(panel.data(), size_t(count) * width, rows, count, width, out.data() + size_t(row) * width,
                out_stride);
    }
  }

  // Every panel touches all rows of base, so they can go only after the last one.
  void drop_rows(int64_t first, int64_t count) const override {
    if (first + count == rows()) base_->drop_rows(0, base_->rows());
  }

 private:
  SourcePtr base_;
};

// See reshaped_source.
class ReshapedSource final : public Source {
 public:
  ReshapedSource(SourcePtr base, Dims dims)
      : Source(base->dtype(), base->encoding(), std::move(dims), base->origin()), base_(std::move(base)) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    check_part(*this, first, count, 0, row_elements(), out.size());
    read_flat(first * row_elements(), count * row_elements(), out);
  }

  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    check_part(*this, first, count, begin, elements, out.size());
    const size_t part = stored_bytes(*this, elements);
    for (int64_t row = 0; row < count; ++row) {
      read_flat((first + row) * row_elements() + begin, elements, out.subspan(size_t(row) * part, part));
    }
  }

  std::optional<std::span<const std::byte>> contiguous() const override { return base_->contiguous(); }

  void drop_rows(int64_t first, int64_t count) const override {
    const int64_t length = base_->row_elements();
    if (length == 0) return;
    const int64_t begin = ceil_div(first * row_elements(), length);
    const int64_t end = (first + count) * row_elements() / length;
    if (end > begin) base_->drop_rows(begin, end - begin);
  }

 private:
  // Elements [begin, begin + elements) in row-major order.
  void read_flat(int64_t begin, int64_t elements, std::span<std::byte> out) const {
    const int64_t length = base_->row_elements();
    while (elements > 0) {
      const int64_t row = begin / length;
      const int64_t column = begin % length;
      const bool whole = column == 0 && elements >= length;
      const int64_t part = whole ? elements / length * length : std::min(length - column, elements);
      const size_t bytes = whole ? size_t(part / length) * base_->row_size() : stored_bytes(*base_, part);
      if (whole)
        base_->read_rows(row, part / length, out.first(bytes));
      else
        base_->read_part(row, 1, column, part, out.first(bytes));
      out = out.subspan(bytes);
      begin += part;
      elements -= part;
    }
  }

  SourcePtr base_;
};

}  // namespace

Source::Source(DType dtype, Encoding encoding, Dims dims, std::string origin)
    : dtype_(dtype), encoding_(encoding), dims_(std::move(dims)), origin_(std::move(origin)) {
  element_count(dims_);  // throws on overflow and negative dimensions
  checked_mul(size_t(rows()), row_size(), "tensor bytes");
  if (encoding_ == Encoding::plain && rows() > 1 && bits(dtype_) % 8 != 0 &&
      bits(dtype_) * (row_elements() % 8) % 8 != 0) {
    fail(ErrorCode::unsupported, "tensor \"{}\": rows of {} {} elements do not fill whole bytes", origin_,
         row_elements(), to_string(dtype_));
  }
}

int64_t Source::rows() const {
  return dims_.empty() ? 1 : element_count(std::span(dims_).first(dims_.size() - 1));
}

size_t Source::row_size() const {
  return stored_bytes(dtype_, encoding_, row_elements());
}
size_t Source::byte_size() const {
  return size_t(rows()) * row_size();
}

void Source::read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                       std::span<std::byte> out) const {
  check_part(*this, first, count, begin, elements, out.size());
  const size_t part = stored_bytes(*this, elements);
  const size_t offset = stored_bytes(*this, begin);
  std::vector<std::byte> row(row_size());
  for (int64_t i = 0; i < count && part > 0; ++i) {
    read_rows(first + i, 1, row);
    std::memcpy(out.data() + size_t(i) * part, row.data() + offset, part);
  }
}

void Source::drop_rows(int64_t, int64_t) const {}

void Source::read_rows_f32(int64_t first, int64_t count, std::span<float> out) const {
  LATHE_CHECK(first >= 0 && count >= 0 && first <= rows() - count, "rows {} + {} of {}", first, count,
              rows());
  LATHE_CHECK(out.size() == size_t(count) * size_t(row_elements()));
  if (encoding_ == Encoding::plain && !is_float(dtype_)) {
    fail(ErrorCode::unsupported, "tensor \"{}\": {} values cannot be read as f32", origin_,
         to_string(dtype_));
  }
  if (out.empty()) return;
  if (const auto bytes = contiguous()) {
    return decode(dtype_, encoding_, bytes->data() + size_t(first) * row_size(), count * row_elements(),
                  out.data());
  }
  if (encoding_ == Encoding::plain && dtype_ == DType::f32) {
    return read_rows(first, count, std::as_writable_bytes(out));
  }
  std::vector<std::byte> stored;
  for_row_groups(first, count, row_elements(), [&](int64_t row, int64_t rows) {
    stored.resize(size_t(rows) * row_size());
    read_rows(row, rows, stored);
    decode(dtype_, encoding_, stored.data(), rows * row_elements(),
           out.data() + (row - first) * row_elements());
  });
}

SourcePtr mapped_source(DType dtype, Encoding encoding, Dims dims, std::span<const std::byte> bytes,
                        std::shared_ptr<const MappedFile> file, std::string origin) {
  return std::make_shared<ContiguousSource>(dtype, encoding, std::move(dims), bytes, std::move(file),
                                            Tensor(), std::move(origin));
}

SourcePtr memory_source(Tensor tensor, std::string origin) {
  const DType dtype = tensor.dtype();
  const Dims dims = tensor.dims();
  const auto bytes = std::as_const(tensor).bytes();
  return std::make_shared<ContiguousSource>(dtype, Encoding::plain, dims, bytes, nullptr, std::move(tensor),
                                            std::move(origin));
}

SourcePtr row_mapped_source(SourcePtr base, Dims dims, std::function<int64_t(int64_t)> map) {
  if (const ConvertedSource* converted = find_conversion(base)) {
    return converted_source(row_mapped_source(converted->base(), std::move(dims), std::move(map)), base->dtype());
  }
  return std::make_shared<RowMappedSource>(std::move(base), std::move(dims), std::move(map));
}

const Source* unconverted(const SourcePtr& source) {
  const ConvertedSource* converted = find_conversion(source);
  return converted ? converted->base().get() : source.get();
}

SourcePtr converted_source(SourcePtr base, DType dtype) {
  const bool plain = base->encoding() == Encoding::plain;
  if (plain && base->dtype() == dtype) return base;
  // There and back: every f16 and bf16 is an f32.
  if (const ConvertedSource* widened = find_conversion(base); widened && base->dtype() == DType::f32) {
    const DType stored = widened->base()->dtype();
    if (stored == dtype && (dtype == DType::f16 || dtype == DType::bf16)) return widened->base();
  }
  const bool to = dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
  if (!to || (plain && !is_float(base->dtype()))) {
    fail(ErrorCode::unsupported, "tensor \"{}\": no conversion from {} to {}", base->origin(),
         to_string(base->dtype()), to_string(dtype));
  }
  return std::make_shared<ConvertedSource>(std::move(base), dtype);
}

SourcePtr transposed_source(SourcePtr base) {
  if (base->dims().size() != 2 || base->encoding() != Encoding::plain || bits(base->dtype()) < 8) {
    fail(ErrorCode::unsupported, "tensor \"{}\": cannot transpose {} {} {}", base->origin(),
         to_string(base->encoding()), to_string(base->dtype()), to_string(std::span(base->dims())));
  }
  if (const auto* turned = dynamic_cast<const TransposedSource*>(base.get())) return turned->base();
  if (const ConvertedSource* converted = find_conversion(base)) {
    return converted_source(transposed_source(converted->base()), base->dtype());
  }
  return std::make_shared<TransposedSource>(std::move(base));
}

SourcePtr reshaped_source(SourcePtr base, Dims dims) {
  if (element_count(dims) != element_count(base->dims())) {
    fail(ErrorCode::invalid_input, "tensor \"{}\": cannot reshape {} to {}", base->origin(),
         to_string(std::span(base->dims())), to_string(std::span<const int64_t>(dims)));
  }
  const int64_t length = dims.empty() ? 1 : dims.back();
  LATHE_CHECK(base->encoding() == Encoding::plain || length == base->row_elements(),
              "rows of {} elements of an encoded tensor cannot become rows of {}", base->row_elements(),
              length);
  return std::make_shared<ReshapedSource>(std::move(base), std::move(dims));
}

Tensor load(const Source& source) {
  if (source.encoding() != Encoding::plain) {
    Tensor floats(DType::f32, source.dims());
    source.read_rows_f32(0, source.rows(), floats.data<float>());
    return floats;
  }
  Tensor tensor(source.dtype(), source.dims());
  source.read_rows(0, source.rows(), tensor.mutable_bytes());
  if (tensor.dtype() == DType::boolean) {
    for (const std::byte value : std::as_const(tensor).bytes()) {
      if (value > std::byte{1}) {
        fail(ErrorCode::invalid_input, "tensor \"{}\": bool element of value {}", source.origin(),
             int(value));
      }
    }
  }
  return tensor;
}

}  // namespace lathe::tensor
