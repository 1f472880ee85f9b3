#include "op/sliding_windows.h"

#include <algorithm>
#include <limits>

#include "base/checked.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using Auto = WindowSpec::Auto;

// Keeps (kernel - 1) * dilation + 1 + pads far from overflow.
constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();

// Attribute `name` with `count` numbers in [lowest, 2^31), or as many times `otherwise`.
std::vector<int64_t> read_list(std::string_view op, const Attributes& attributes, std::string_view name, size_t count,
                               int64_t lowest, int64_t otherwise) {
  auto values = attributes.find_ints(name);
  if (!values) return std::vector<int64_t>(count, otherwise);
  if (values->size() != count) {
    fail(ErrorCode::invalid_input, "{}: {}: expected {} numbers, found {}", op, name, count, values->size());
  }
  for (const int64_t value : *values) {
    if (value < lowest || value > kLargest) fail(ErrorCode::invalid_input, "{}: {} of {}", op, name, value);
  }
  return *std::move(values);
}

Auto read_auto_pad(std::string_view op, const Attributes& attributes) {
  const std::string text = attributes.get_string("auto_pad", "NOTSET");
  if (text == "NOTSET") return Auto::notset;
  if (text == "SAME_UPPER") return Auto::same_upper;
  if (text == "SAME_LOWER") return Auto::same_lower;
  if (text == "VALID") return Auto::valid;
  fail(ErrorCode::invalid_input, "{}: auto_pad \"{}\"", op, text);
}

// How far a kernel reaches.
Dim extent(const WindowSpec& spec, size_t i) {
  return (spec.kernel[i] - Dim(1)) * Dim(spec.dilations[i]) + Dim(1);
}

int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b < 0);
}

bool is_same(Auto auto_pad) {
  return auto_pad == Auto::same_upper || auto_pad == Auto::same_lower;
}

// Windows along an axis where all is known.
int64_t count_windows(std::string_view op, const WindowSpec& spec, size_t i, int64_t length) {
  const int64_t stride = spec.strides[i];
  if (is_same(spec.auto_pad)) return ceil_div(length, stride);
  const int64_t begin = spec.pads[i];
  const int64_t padded = checked_add(length, begin + spec.pads[i + spec.kernel.size()], "padded length");
  const int64_t span = padded - extent(spec, i).value();
  // A kernel that reaches a little further than there are elements gives no window, or in ceil mode a cut one.
  const int64_t last = spec.ceil ? -floor_div(-span, stride) : floor_div(span, stride);
  if (last < -1) {
    fail(ErrorCode::invalid_input, "{}: axis {}: a kernel that reaches over {} on {} elements with padding", op, i + 2,
         extent(spec, i).value(), padded);
  }
  if (!spec.ceil) return last + 1;
  return last * stride >= length + begin ? last : last + 1;  // none starts in the padding at the end
}

}  // namespace

std::optional<Dim> divide_floor(const Dim& a, int64_t b) {
  std::map<std::string, int64_t, std::less<>> zeros;
  for (const std::string& symbol : a.symbols()) zeros[symbol] = 0;
  const auto constant = a.bind(zeros).constant();
  if (!constant) return std::nullopt;
  const int64_t rest = (*constant % b + b) % b;
  return divide_exactly(a - Dim(rest), Dim(b));
}

size_t spatial_rank(const InferContext& context) {
  const TypeInfo& x = context.input(0);
  if (x.shape.size() < 3) bad(context, "input 0: expected [batch, channels, spatial...], found {}", to_string(x));
  return x.shape.size() - 2;
}

WindowSpec read_windows(std::string_view op, const Attributes& attributes, size_t rank, const tensor::Shape* kernel) {
  WindowSpec spec;
  const std::vector<int64_t> lengths = read_list(op, attributes, "kernel_shape", rank, 1, 1);
  spec.kernel = tensor::to_shape(lengths);
  if (kernel) {
    for (size_t i = 0; i < rank; ++i) {
      const auto known = (*kernel)[i].constant();
      if (known && (*known < 1 || *known > kLargest)) {
        fail(ErrorCode::invalid_input, "{}: a kernel of length {}", op, *known);
      }
      if (!attributes.has("kernel_shape")) {
        spec.kernel[i] = (*kernel)[i];
      } else if (known && *known != lengths[i]) {
        fail(ErrorCode::invalid_input, "{}: kernel_shape says {}, the weights' axis {} is {}", op, lengths[i], i + 2,
             *known);
      }
    }
  }
  spec.strides = read_list(op, attributes, "strides", rank, 1, 1);
  spec.dilations = read_list(op, attributes, "dilations", rank, 1, 1);
  spec.auto_pad = read_auto_pad(op, attributes);
  spec.pads = read_list(op, attributes, "pads", 2 * rank, 0, 0);
  if (spec.auto_pad != Auto::notset) std::fill(spec.pads.begin(), spec.pads.end(), 0);
  spec.ceil = attributes.get_int("ceil_mode", 0) != 0;
  return spec;
}

Dim window_count(const InferContext& context, const WindowSpec& spec, size_t i, const Dim& length) {
  const int64_t stride = spec.strides[i];
  const Dim reach = extent(spec, i);
  if (length.is_constant() && reach.is_constant()) {
    return Dim(count_windows(context.op, spec, i, length.value()));
  }
  std::optional<Dim> count;
  if (is_same(spec.auto_pad)) {
    count = divide_floor(length + Dim(stride - 1), stride);
  } else if (!spec.ceil || stride == 1) {
    count = divide_floor(length + Dim(spec.pads[i] + spec.pads[i + spec.kernel.size()]) - reach, stride);
    if (count) count = *count + Dim(1);
  }
  return count ? *count : unknown_dim(context, i + 2);
}

Windows plan_windows(std::string_view op, const Attributes& attributes, std::span<const int64_t> dims,
                     const tensor::Shape* kernel) {
  const size_t rank = dims.size() - 2;
  const WindowSpec spec = read_windows(op, attributes, rank, kernel);
  Windows windows;
  windows.lengths.assign(dims.begin() + 2, dims.end());
  windows.kernel = *tensor::to_dims(spec.kernel);
  windows.strides = spec.strides;
  windows.dilations = spec.dilations;
  windows.begins.assign(spec.pads.begin(), spec.pads.begin() + std::ptrdiff_t(rank));
  windows.ends.assign(spec.pads.begin() + std::ptrdiff_t(rank), spec.pads.end());
  for (size_t i = 0; i < rank; ++i) {
    const int64_t count = count_windows(op, spec, i, windows.lengths[i]);
    windows.counts.push_back(count);
    if (!is_same(spec.auto_pad)) continue;
    const int64_t reach = extent(spec, i).value();
    const int64_t total = std::max<int64_t>(0, (count - 1) * windows.strides[i] + reach - windows.lengths[i]);
    windows.begins[i] = spec.auto_pad == Auto::same_upper ? total / 2 : total - total / 2;
    windows.ends[i] = total - windows.begins[i];
  }
  return windows;
}

int64_t window_taps(const Windows& windows, std::span<const int64_t> index, std::vector<Tap>& taps) {
  taps.assign(1, Tap{0, 0});
  int64_t padded = 1;
  std::vector<Tap> next;
  for (size_t i = 0; i < index.size(); ++i) {
    const int64_t start = index[i] * windows.strides[i] - windows.begins[i];
    const int64_t step = windows.dilations[i];
    const int64_t length = windows.lengths[i];
    // Elements k of the kernel's axis with start + k * step before `limit`.
    const auto taps_before = [&](int64_t limit) {
      return start < limit ? std::min(windows.kernel[i], (limit - 1 - start) / step + 1) : 0;
    };
    const int64_t first = start < 0 ? ceil_div(-start, step) : 0;
    const int64_t last = taps_before(length);
    padded = checked_mul(padded, taps_before(length + windows.ends[i]), "window size");
    next.clear();
    for (const Tap& tap : taps) {
      for (int64_t k = first; k < last; ++k) {
        next.push_back({tap.kernel * windows.kernel[i] + k, tap.input * length + start + k * step});
      }
    }
    taps.swap(next);
  }
  return padded;
}

tensor::Dims window_dims(int64_t batch, int64_t channels, const tensor::Dims& spatial) {
  tensor::Dims dims{batch, channels};
  dims.insert(dims.end(), spatial.begin(), spatial.end());
  return dims;
}

}  // namespace lathe::op
