// Fourier transforms of frames of a signal, each multiplied by a window.
//
// signal [batch, length, 1] (real) or [.., 2] (complex), frame_step, window? [frame_length], frame_length?; at least
// one of the last two must be there. Output [batch, frames, bins, 2] with frames = (length - frame_length) /
// frame_step + 1 and bins = frame_length / 2 + 1 if `onesided` (the default), else frame_length.
#include "op/fourier.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using Complex = std::complex<double>;

enum Input : size_t { kSignal, kStep, kWindow, kLength };

int64_t frame_count(int64_t length, int64_t frame, int64_t step) {
  if (step < 1) fail(ErrorCode::invalid_input, "STFT: frame_step is {}", step);
  if (frame < 1 || frame > length)
    fail(ErrorCode::invalid_input, "STFT: frames of {} in a signal of {}", frame, length);
  return (length - frame) / step + 1;
}

int64_t bin_count(const Attributes& attributes, int64_t frame) {
  return attributes.get_int("onesided", 1) != 0 ? frame / 2 + 1 : frame;
}

void infer_stft(InferContext& context) {
  const TypeInfo& signal = require(context, kSignal, kFloat);
  require_rank(context, kSignal, 3);
  require_same_dtype(context, kSignal, kWindow);
  for (const size_t i : {kStep, kLength}) {
    if (i == kLength && !context.has_input(i)) continue;
    require(context, i, kSigned);
    const auto count = tensor::element_count(context.input(i).shape).constant();
    if (count && *count != 1) bad(context, "input {}: expected a scalar, found {}", i, to_string(context.input(i)));
  }
  const auto parts = signal.shape[2].constant();
  if (parts && *parts != 1 && *parts != 2) bad(context, "last axis: expected 1 or 2, found {}", to_string(signal));
  if (parts && *parts == 2 && context.attributes.get_int("onesided", 1) != 0)
    bad(context, "onesided needs a real signal, found {}", to_string(signal));
  if (!context.has_input(kWindow) && !context.has_input(kLength)) bad(context, "neither window nor frame_length");
  std::optional<int64_t> frame;
  if (context.has_input(kLength)) {
    if (const auto known = known_ints(context, kLength)) frame = known->front();
  }
  if (context.has_input(kWindow)) {
    require_rank(context, kWindow, 1);
    const Dim& width = context.input(kWindow).shape[0];
    if (frame) require_dims_agree(context, "window and frame_length", width, Dim(*frame));
    if (!frame && !context.has_input(kLength)) frame = width.constant();
  }
  const auto step = known_ints(context, kStep);
  const auto length = signal.shape[1].constant();
  Dim frames = unknown_dim(context, 0);
  if (frame && step && length) frames = Dim(frame_count(*length, *frame, step->front()));
  const Dim bins = frame ? Dim(bin_count(context.attributes, *frame)) : unknown_dim(context, 1);
  context.outputs[0] = {signal.dtype, {signal.shape[0], frames, bins, Dim(2)}, std::nullopt};
}

void evaluate_stft(EvaluateContext& context) {
  const tensor::Tensor& signal = context.inputs[kSignal];
  const int64_t batch = signal.dims()[0], length = signal.dims()[1], parts = signal.dims()[2];
  const int64_t step = load_int(context.inputs[kStep]);
  const int64_t frame = context.has_input(kLength) ? load_int(context.inputs[kLength]) : context.inputs[kWindow].size();
  const int64_t frames = frame_count(length, frame, step);
  const int64_t bins = bin_count(context.attributes, frame);
  std::vector<double> window(static_cast<size_t>(frame), 1);
  if (context.has_input(kWindow)) window = load<double>(context.inputs[kWindow]);
  if (int64_t(window.size()) != frame)
    fail(ErrorCode::invalid_input, "STFT: a window of {} for frames of {}", window.size(), frame);
  const std::vector<double> values = load<double>(signal);
  const std::vector<Complex> roots = unit_roots(frame, false);
  const tensor::Dims dims{batch, frames, bins, 2};
  std::vector<double> result(size_t(tensor::element_count(std::span(dims))));
  auto out = result.begin();
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t f = 0; f < frames; ++f) {
      std::vector<Complex> samples(static_cast<size_t>(frame));
      for (int64_t j = 0; j < frame; ++j) {
        const size_t from = size_t((b * length + f * step + j) * parts);
        samples[size_t(j)] = Complex(values[from], parts == 2 ? values[from + 1] : 0) * window[size_t(j)];
      }
      for (const Complex& value : transform(samples, roots, bins)) {
        *out++ = value.real();
        *out++ = value.imag();
      }
    }
  }
  context.outputs[0] = store(signal.dtype(), dims, result);
}

}  // namespace

const OpDef& stft_op() {
  static const OpDef def{
      .name = "STFT",
      .min_inputs = 2,
      .max_inputs = 4,
      .attributes = {{"onesided", AttributeKind::integer}},
      .since = 17,
      .infer = infer_stft,
      .evaluate = evaluate_stft,
  };
  return def;
}

}  // namespace lathe::op
