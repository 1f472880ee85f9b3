// Triangular filters that gather the bins of a spectrum into bands of equal width on the mel scale,
// mel(f) = 2595 log10(1 + f / 700). Output [dft_length / 2 + 1, num_mel_bins], peaks of 1.
#include <algorithm>
#include <cmath>

#include "op/inference.h"
#include "op/values.h"
#include "op/windows.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;

enum Input : size_t { kBands, kLength, kRate, kLower, kUpper };

void infer_mel(InferContext& context) {
  for (const size_t i : {kBands, kLength, kRate, kLower, kUpper}) {
    const TypeInfo& type = i < kLower ? context.input(i) : require(context, i, kFloat);
    if (i < kLower && type.dtype != DType::i32 && type.dtype != DType::i64)
      bad(context, "input {}: expected i32 or i64, found {}", i, to_string(type));
    const auto count = tensor::element_count(type.shape).constant();
    if (count && *count != 1) bad(context, "input {}: expected a scalar, found {}", i, to_string(type));
  }
  const auto length = known_ints(context, kLength);
  const auto bands = known_dims(context, kBands);
  if (length && length->front() < 0) bad(context, "dft_length is {}", length->front());
  if (bands && bands->front().constant().value_or(0) < 0)
    bad(context, "num_mel_bins is {}", bands->front().to_string());
  const Dim rows = length ? Dim(length->front() / 2 + 1) : unknown_dim(context, 0);
  const Dim columns = bands ? bands->front() : unknown_dim(context, 1);
  context.outputs[0] = {output_datatype(context.attributes), {rows, columns}, std::nullopt};
}

double to_mel(double hertz) {
  return 2595 * std::log10(1 + hertz / 700);
}

void evaluate_mel(EvaluateContext& context) {
  const int64_t bands = load_int(context.inputs[kBands]);
  const int64_t length = load_int(context.inputs[kLength]);
  const int64_t rate = load_int(context.inputs[kRate]);
  const double lower = load_double(context.inputs[kLower]);
  const double upper = load_double(context.inputs[kUpper]);
  if (bands < 0 || length < 0 || rate < 1 || !(lower >= 0) || !(upper >= lower) || std::isinf(upper))
    fail(ErrorCode::invalid_input, "MelWeightMatrix: {} bands, length {}, rate {}, from {} to {} Hz", bands, length,
         rate, lower, upper);
  const tensor::Dims dims{length / 2 + 1, bands};
  std::vector<double> weights(size_t(tensor::element_count(std::span(dims))));
  // The bin at edge i of the triangles. A step is the range over bands + 2 (not + 1), as ONNX's own results
  // have it.
  const double first = to_mel(lower);
  const double step = (to_mel(upper) - first) / double(bands + 2);
  const auto edge = [&](int64_t i) {
    const double hertz = 700 * (std::pow(10, (first + double(i) * step) / 2595) - 1);
    return std::floor(double(length + 1) * hertz / double(rate));
  };
  for (int64_t band = 0; band < bands; ++band) {
    const double left = edge(band), centre = edge(band + 1), right = edge(band + 2);
    // Bins beyond the spectrum (frequencies above half the rate) have no row.
    const int64_t end = int64_t(std::min(std::max(right, centre + 1), double(dims[0])));
    for (int64_t bin = int64_t(std::min(left, double(dims[0]))); bin < end; ++bin) {
      const double at = double(bin);
      const double weight = at == centre ? 1 : at < centre ? (at - left) / (centre - left)
                                                           : (right - at) / (right - centre);
      weights[size_t(bin * bands + band)] = weight;
    }
  }
  context.outputs[0] = store(output_datatype(context.attributes), dims, weights);
}

}  // namespace

const OpDef& mel_weight_matrix_op() {
  static const OpDef def{
      .name = "MelWeightMatrix",
      .min_inputs = 5,
      .max_inputs = 5,
      .attributes = {{"output_datatype", AttributeKind::integer}},
      .since = 17,
      .infer = infer_mel,
      .evaluate = evaluate_mel,
  };
  return def;
}

}  // namespace lathe::op
