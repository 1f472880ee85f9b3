// A picture out of the bytes of a file, [height, width, channels]; of no pixels when the file cannot be decoded.
#include "image/image.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

int64_t channels_of(std::string_view format) {
  return format == "Grayscale" ? 1 : 3;
}

void infer_image_decoder(InferContext& context) {
  require_dtype(context, 0, tensor::DType::u8);
  require_rank(context, 0, 1);
  const std::string format = context.attributes.get_string("pixel_format", "RGB");
  if (format != "RGB" && format != "BGR" && format != "Grayscale") bad(context, "pixel_format \"{}\"", format);
  context.outputs[0] = {tensor::DType::u8,
                        {unknown_dim(context, 0), unknown_dim(context, 1), tensor::Dim(channels_of(format))},
                        std::nullopt};
}

// ONNX wants an empty result, and no error, for files that are damaged or of no known format.
image::Image decode_or_empty(std::span<const std::byte> file) {
  try {
    return image::decode(file);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_input && error.code() != ErrorCode::unsupported) throw;
    return {0, 0, 1, {}};
  }
}

void evaluate_image_decoder(EvaluateContext& context) {
  const std::string format = context.attributes.get_string("pixel_format", "RGB");
  const int64_t channels = channels_of(format);
  const image::Image decoded = decode_or_empty(context.inputs[0].bytes());
  const image::Image picture = channels == 1 ? to_grey(decoded) : to_rgb(decoded);
  tensor::Tensor result(tensor::DType::u8, {picture.height, picture.width, channels});
  const auto to = result.data<uint8_t>();
  const bool swapped = format == "BGR";
  for (size_t i = 0; i < to.size(); ++i) to[i] = picture.pixels[swapped ? i - i % 3 + 2 - i % 3 : i];
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& image_decoder_op() {
  static const OpDef def{
      .name = "ImageDecoder",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"pixel_format", AttributeKind::string}},
      .since = 20,
      .infer = infer_image_decoder,
      .evaluate = evaluate_image_decoder,
  };
  return def;
}

}  // namespace lathe::op
