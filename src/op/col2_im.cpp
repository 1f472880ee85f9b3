// Adds columns of blocks up to the image that they were cut from: the transpose of taking windows.
#include "base/checked.h"
#include "op/elementwise.h"
#include "op/sliding_windows.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::Dims;

// Input i, a shape: its numbers where they are known before the run.
std::optional<Dims> find_shape(const InferContext& context, size_t i) {
  require_dtype(context, i, tensor::DType::i64);
  require_rank(context, i, 1);
  const auto shape = known_ints(context, i);
  for (const int64_t length : shape.value_or(Dims{})) {
    if (length < 1) bad(context, "input {}: a length of {}", i, length);
  }
  return shape;
}

// The windows that the blocks are; kernel_shape is an input here.
Windows plan_blocks(std::string_view op, const Attributes& attributes, const Dims& image, const Dims& block) {
  if (image.size() != block.size())
    fail(ErrorCode::invalid_input, "{}: an image of {} axes, blocks of {}", op, image.size(), block.size());
  const tensor::Shape kernel = tensor::to_shape(block);
  const WindowSpec spec = read_windows(op, attributes, image.size(), &kernel);
  Windows windows;
  windows.lengths = image;
  windows.kernel = block;
  windows.strides = spec.strides;
  windows.dilations = spec.dilations;
  const auto middle = spec.pads.begin() + std::ptrdiff_t(image.size());
  windows.begins.assign(spec.pads.begin(), middle);
  windows.ends.assign(middle, spec.pads.end());
  for (size_t i = 0; i < image.size(); ++i) {
    const int64_t reach = (block[i] - 1) * spec.dilations[i] + 1;
    const int64_t span = checked_add(image[i], windows.begins[i] + windows.ends[i], "padded length") - reach;
    if (span < 0)
      fail(ErrorCode::invalid_input, "{}: axis {}: blocks over {} in an image of {}", op, i, reach, image[i]);
    windows.counts.push_back(span / spec.strides[i] + 1);
  }
  return windows;
}

// x is [batch, channels * block elements, blocks]; image_shape and block_shape have a number for each spatial axis.
void infer_col2_im(InferContext& context) {
  const TypeInfo& x = require(context, 0, kNumeric | kBool);
  require_rank(context, 0, 3);
  const auto image = find_shape(context, 1);
  const auto block = find_shape(context, 2);
  const auto rank = context.input(1).shape[0].constant();
  if (!rank) bad(context, "the rank of the result depends on how long image_shape is");
  std::optional<Dim> channels;
  if (image && block) {
    const Windows windows = plan_blocks(context.op, context.attributes, *image, *block);
    require_dims_agree(context, fmt::format("blocks of {}", to_string(x)), x.shape[2], Dim(windows.count()));
    channels = divide_exactly(x.shape[1], Dim(windows.kernel_size()));
    if (!channels && x.shape[1].is_constant())
      bad(context, "columns of {} in blocks of {}", x.shape[1].value(), windows.kernel_size());
  }
  tensor::Shape shape{x.shape[0], channels ? *channels : unknown_dim(context, 1)};
  for (size_t i = 0; i < size_t(*rank); ++i) shape.push_back(image ? Dim((*image)[i]) : unknown_dim(context, i + 2));
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

template <class V>
void compute(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const Dims image = load<int64_t>(context.inputs[1]);
  const Windows windows = plan_blocks("Col2Im", context.attributes, image, load<int64_t>(context.inputs[2]));
  const int64_t kernel_size = windows.kernel_size();
  const int64_t count = windows.count();
  const int64_t size = windows.input_size();
  const Dims dims = window_dims(x.dims()[0], x.dims()[1] / kernel_size, image);
  const int64_t planes = dims[0] * dims[1];
  const std::vector<V> columns = load<V>(x);
  std::vector<V> y(size_t(tensor::element_count(std::span<const int64_t>(dims))));
  for_each_window(windows, [&](int64_t o, std::span<const Tap> taps, int64_t) {
    for (int64_t p = 0; p < planes; ++p) {
      for (const Tap& tap : taps) {
        V& sum = y[size_t(p * size + tap.input)];
        sum = WrappingAdd()(sum, columns[size_t((p * kernel_size + tap.kernel) * count + o)]);
      }
    }
  });
  context.outputs[0] = store(x.dtype(), dims, y);
}

}  // namespace

const OpDef& col2_im_op() {
  static const OpDef def{
      .name = "Col2Im",
      .min_inputs = 3,
      .max_inputs = 3,
      .attributes = {{"dilations", AttributeKind::integers},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .since = 18,
      .infer = infer_col2_im,
      .evaluate =
          [](EvaluateContext& context) {
            with_compute_type(context.inputs[0].dtype(), [&](auto zero) { compute<decltype(zero)>(context); });
          },
  };
  return def;
}

}  // namespace lathe::op
