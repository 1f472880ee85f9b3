#include "opt/half_range.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/numbers.h"

namespace lathe::opt {
namespace {

using tensor::DType;

constexpr int64_t kChunk = int64_t{1} << 16;  // numbers that are looked at together

float rounded(float number, DType half) {
  return half == DType::f16 ? f16_to_f32(f32_to_f16(number)) : bf16_to_f32(f32_to_bf16(number));
}

// Those of a mask that are infinite are so in any type.
template <class Visit>
void each_finite(const tensor::Source& source, Visit&& visit) {
  const int64_t columns = std::max<int64_t>(1, source.row_elements());
  const int64_t step = std::max<int64_t>(64, kChunk / columns);
  std::vector<float> numbers;
  for (int64_t row = 0; row < source.rows(); row += step) {
    const int64_t count = std::min(step, source.rows() - row);
    numbers.resize(size_t(count * source.row_elements()));
    source.read_rows_f32(row, count, numbers);
    for (const float number : numbers) {
      if (std::isfinite(number)) visit(number);
    }
  }
}

std::string_view name_of(DType half) { return half == DType::f16 ? "fp16" : "bf16"; }

}  // namespace

double largest_of(DType half) { return half == DType::f16 ? 65504.0 : double(bf16_to_f32(0x7f7f)); }

double largest_finite(const tensor::Source& source) {
  float largest = 0;
  each_finite(source, [&](float number) { largest = std::max(largest, std::abs(number)); });
  return double(largest);
}

std::optional<std::string> refusal_of(const tensor::Source& source, DType half) {
  const double most_lost = half == DType::f16 ? 1.0 / 1024 : 1.0 / 128;
  double squares = 0, lost = 0;
  float largest = 0;
  each_finite(source, [&](float number) {
    largest = std::max(largest, std::abs(number));
    const double difference = double(rounded(number, half)) - double(number);
    squares += double(number) * double(number);
    lost += difference * difference;
  });
  if (std::isinf(rounded(largest, half))) {
    return fmt::format("a weight of {:g} is beyond {}, which ends at {:g}", largest, name_of(half), largest_of(half));
  }
  const double share = squares > 0 ? std::sqrt(lost / squares) : 0;
  if (share <= most_lost) return std::nullopt;
  return fmt::format("weights of at most {:g} are so small that {} loses {:.2g} % of them (bound {:.2g} %)", largest,
                     name_of(half), 100 * share, 100 * most_lost);
}

}  // namespace lathe::opt
