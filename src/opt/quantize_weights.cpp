#include "opt/quantize_weights.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lathe::opt {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::SourcePtr;

constexpr float kSteps = 127;                 // -128 is left out: weights are symmetric
constexpr int64_t kChunk = int64_t{1} << 18;  // elements that are read together
constexpr int64_t kLeastRows = 64;            // a transposed source is read a panel at a time

// Which feature an element belongs to, by its row and its place in the row.
class Features {
 public:
  Features(const Dims& dims, size_t axis) : count_(dims[axis]), columns_(dims.back()), last_(axis + 1 == dims.size()) {
    for (size_t i = axis + 1; i + 1 < dims.size(); ++i) rows_ *= dims[i];
  }
  // Of the element at `column`; all of a row are of one feature where the axis is not the last.
  int64_t of(int64_t row, int64_t column) const { return last_ ? column : row / rows_ % count_; }
  bool by_column() const { return last_; }
  int64_t count() const { return count_; }
  int64_t columns() const { return columns_; }

 private:
  int64_t count_, columns_;
  int64_t rows_ = 1;  // of one feature, that follow each other
  bool last_;
};

void round_row(const float* in, int64_t count, const float* scales, int64_t step, int8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = int8_t(std::clamp(std::nearbyint(in[i] / scales[i * step]), -kSteps, kSteps));
  }
}

class RoundedSource final : public tensor::Source {
 public:
  RoundedSource(SourcePtr base, Features features, std::vector<float> scales)
      : Source(DType::i8, tensor::Encoding::plain, base->dims(), base->origin()),
        base_(std::move(base)),
        features_(features),
        scales_(std::move(scales)) {}

  void read_rows(int64_t first, int64_t count, std::span<std::byte> out) const override {
    read_part(first, count, 0, row_elements(), out);
  }

  void read_part(int64_t first, int64_t count, int64_t begin, int64_t elements,
                 std::span<std::byte> out) const override {
    if (elements == 0) return;
    const int64_t together = std::max(kLeastRows, kChunk / elements);
    std::vector<float> floats(size_t(std::min(together, count) * elements));
    auto* to = reinterpret_cast<int8_t*>(out.data());
    for (int64_t row = first; row < first + count; row += together) {
      const int64_t rows = std::min(together, first + count - row);
      const std::span<float> part = std::span(floats).first(size_t(rows * elements));
      base_->read_part(row, rows, begin, elements, std::as_writable_bytes(part));
      for (int64_t r = 0; r < rows; ++r, to += elements) {
        const float* scale = &scales_[size_t(features_.of(row + r, begin))];
        round_row(&part[size_t(r * elements)], elements, scale, features_.by_column() ? 1 : 0, to);
      }
    }
  }

  void drop_rows(int64_t first, int64_t count) const override { base_->drop_rows(first, count); }

 private:
  SourcePtr base_;  // f32
  Features features_;
  std::vector<float> scales_;
};

}  // namespace

RoundedWeights round_weights(const std::string& name, const SourcePtr& weights, int64_t axis) {
  const SourcePtr base = weights->dtype() == DType::f32 ? weights : tensor::converted_source(weights, DType::f32);
  const Features features(base->dims(), size_t(axis));
  const int64_t columns = features.columns();
  std::vector<float> scales(size_t(features.count()), 0.0f), floats;
  const int64_t together = std::max(kLeastRows, kChunk / std::max<int64_t>(1, columns));
  for (int64_t row = 0; row < base->rows(); row += together) {
    const int64_t rows = std::min(together, base->rows() - row);
    floats.resize(size_t(rows * columns));
    base->read_rows_f32(row, rows, floats);
    for (int64_t i = 0; i < rows * columns; ++i) {
      const float value = floats[size_t(i)];
      if (!std::isfinite(value)) {
        fail(ErrorCode::invalid_input, "weights \"{}\": element {} is {}", name, row * columns + i, value);
      }
      float& largest = scales[size_t(features.of(row + i / columns, i % columns))];
      largest = std::max(largest, std::abs(value));
    }
  }
  base->drop_rows(0, base->rows());
  for (float& scale : scales) {
    scale /= kSteps;
    if (!std::isnormal(scale)) scale = 1;  // a feature of zeros, or of what is none to f32
  }
  return {std::make_shared<RoundedSource>(base, features, scales), scales};
}

}  // namespace lathe::opt
