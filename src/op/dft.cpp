// The discrete Fourier transform along one axis, forward or inverse (divided by its length).
//
// input [.., 1] (real) or [.., 2] (complex), dft_length? (the axis is cut or filled with zeros to it), axis?
// (default -2). With `onesided`, forward gives the first length / 2 + 1 frequencies of a real signal and inverse
// makes a real signal [.., 1] of them.
#include "op/fourier.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using Complex = std::complex<double>;

enum Input : size_t { kX, kLength, kAxis };

// An index into the signal's axes; the last axis holds the parts of the numbers.
size_t signal_axis(int64_t axis, int64_t rank) {
  const int64_t index = axis < 0 ? axis + rank : axis;
  if (index < 0 || index >= rank - 1) fail(ErrorCode::invalid_input, "DFT: axis {} of a signal of rank {}", axis, rank);
  return size_t(index);
}

int64_t checked_length(int64_t length) {
  if (length < 1) fail(ErrorCode::invalid_input, "DFT: a transform of length {}", length);
  return length;
}

void require_scalar(const InferContext& context, size_t i) {
  if (!context.has_input(i)) return;
  require(context, i, kSigned);
  const auto count = tensor::element_count(context.input(i).shape).constant();
  if (count && *count != 1) bad(context, "input {}: expected a scalar, found {}", i, to_string(context.input(i)));
}

void infer_dft(InferContext& context) {
  const TypeInfo& x = require(context, kX, kFloat);
  require_scalar(context, kLength);
  require_scalar(context, kAxis);
  const size_t rank = x.shape.size();
  if (rank < 2) bad(context, "input: expected rank 2 or more, found {}", to_string(x));
  const bool one_sided = context.attributes.get_int("onesided", 0) != 0;
  const bool inverse = context.attributes.get_int("inverse", 0) != 0;
  const auto parts = x.shape.back().constant();
  if (parts && *parts != 1 && *parts != 2) bad(context, "last axis: expected 1 or 2, found {}", to_string(x));
  if (parts && one_sided && *parts != (inverse ? 2 : 1))
    bad(context, "onesided needs {} input, found {}", inverse ? "complex" : "real", to_string(x));
  tensor::Shape shape = x.shape;
  shape.back() = Dim(one_sided && inverse ? 1 : 2);
  TypeInfo& out = context.outputs[0];
  const auto axes = context.has_input(kAxis) ? known_ints(context, kAxis) : std::vector<int64_t>{-2};
  if (!axes) {
    for (size_t i = 0; i + 1 < rank; ++i) shape[i] = unknown_dim(context, i);
    out = {x.dtype, std::move(shape), std::nullopt};
    return;
  }
  Dim& dim = shape[signal_axis(axes->front(), int64_t(rank))];
  if (context.has_input(kLength)) {
    const auto length = known_dims(context, kLength);
    dim = length ? length->front() : unknown_dim(context, 0);
  } else if (one_sided && inverse) {
    dim = Dim(2) * (dim - Dim(1));
  }
  if (dim.is_constant()) checked_length(dim.value());
  if (one_sided && !inverse) dim = dim.is_constant() ? Dim(dim.value() / 2 + 1) : unknown_dim(context, 0);
  out = {x.dtype, std::move(shape), std::nullopt};
}

// The whole spectrum of a real signal from its first half; the imaginary parts of its ends count for nothing.
void mirror(std::vector<Complex>& spectrum) {
  const size_t length = spectrum.size();
  spectrum[0].imag(0);
  if (length % 2 == 0) spectrum[length / 2].imag(0);
  for (size_t k = length / 2 + 1; k < length; ++k) spectrum[k] = std::conj(spectrum[length - k]);
}

void evaluate_dft(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[kX];
  const bool one_sided = context.attributes.get_int("onesided", 0) != 0;
  const bool inverse = context.attributes.get_int("inverse", 0) != 0;
  const size_t axis = signal_axis(context.has_input(kAxis) ? load_int(context.inputs[kAxis]) : -2, x.rank());
  const int64_t given = x.dims()[axis];
  int64_t length = one_sided && inverse ? 2 * (given - 1) : given;
  if (context.has_input(kLength)) length = load_int(context.inputs[kLength]);
  checked_length(length);
  const int64_t count = one_sided && !inverse ? length / 2 + 1 : length;
  const int64_t parts = x.dims().back();
  tensor::Dims dims = x.dims();
  dims[axis] = count;
  dims.back() = one_sided && inverse ? 1 : 2;
  const std::vector<double> values = load<double>(x);
  std::vector<double> result(size_t(tensor::element_count(std::span(dims))));
  const std::vector<Complex> roots = unit_roots(length, inverse);
  const int64_t outer = count_of(dims, 0, axis);
  const int64_t inner = count_of(dims, axis + 1, dims.size() - 1);
  const int64_t read = std::min(given, one_sided && inverse ? length / 2 + 1 : length);
  for (int64_t line = 0; line < outer * inner; ++line) {
    const auto at = [&](int64_t j, int64_t axis_length) {
      return size_t((line / inner * axis_length + j) * inner + line % inner);
    };
    std::vector<Complex> signal(static_cast<size_t>(length));
    for (int64_t j = 0; j < read; ++j) {
      const size_t from = at(j, given) * size_t(parts);
      signal[size_t(j)] = {values[from], parts == 2 ? values[from + 1] : 0};
    }
    if (one_sided && inverse) mirror(signal);
    const std::vector<Complex> transformed = transform(signal, roots, count);
    for (int64_t j = 0; j < count; ++j) {
      const Complex value = inverse ? transformed[size_t(j)] / double(length) : transformed[size_t(j)];
      const size_t to = at(j, count) * size_t(dims.back());
      result[to] = value.real();
      if (dims.back() == 2) result[to + 1] = value.imag();
    }
  }
  context.outputs[0] = store(x.dtype(), dims, result);
}

}  // namespace

const OpDef& dft_op() {
  static const OpDef def{
      .name = "DFT",
      .min_inputs = 1,
      .max_inputs = 3,
      .attributes = {{"inverse", AttributeKind::integer}, {"onesided", AttributeKind::integer}},
      .since = 17,
      .inputs_since = {{2, 20}},
      .infer = infer_dft,
      .evaluate = evaluate_dft,
  };
  return def;
}

}  // namespace lathe::op
