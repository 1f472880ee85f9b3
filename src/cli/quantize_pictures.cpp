#include "cli/quantize_pictures.h"

#include <algorithm>

#include "calibrate/graph_quantizer.h"
#include "compiler/graph_build.h"
#include "verify/precision_cost.h"

namespace lathe::cli {
namespace {

constexpr std::string_view kQuantised = "unet";  // called at each step; the others once for a picture
// Above the bound: the gates run on each instruction set, whose f32 sums differ in the last bits.
constexpr double kMargin = 0.5;  // dB

calibrate::Samples samples_of(const verify::PictureRecording& recording, const std::string& graph) {
  const auto calls = std::make_shared<const std::vector<verify::GraphData>>(verify::calls_of(recording, graph));
  return {calls->size(), [calls](size_t index) { return (*calls)[index]; }};
}

std::vector<plan::Island> all_products(ir::Graph graph, const std::string& reason) {
  opt::prepare_quantization(graph);
  std::vector<plan::Island> islands;
  for (const ir::NodeId id : graph.nodes()) {
    const ir::Node& node = graph.node(id);
    if (node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") continue;
    if (graph.is_constant(node.inputs[1])) islands.push_back({graph.name(node.outputs[0]), reason});
  }
  return islands;
}

// Leaves more and more in floats until the bound holds; what held it.
verify::ComponentPsnr hold_bound(calibrate::GraphQuantizer& quantizer, const std::string& name,
                                 const verify::PictureRecording& recording, const runtime::GraphOptions& options,
                                 const Output& output) {
  const double bound = verify::psnr_bound("i8") + kMargin;
  for (size_t more = 1;; more *= 2) {
    if (quantizer.rounded() == 0) {
      std::string reasons;
      for (const std::string& line : plan::describe(quantizer.kept())) reasons += "\n  in fp32: " + line;
      fail(ErrorCode::verification, "nothing of it is left in 8 bits, bound {:g} dB; --precision bf16 has 16 bits{}",
           bound, reasons);
    }
    const auto psnr = verify::component_psnr(recording, name, compiler::build_graph(quantizer.graph()), options);
    if (psnr.worst() >= bound) return psnr;
    output.note(fmt::format("{}: {:.1f} dB with {} of {} products in 8 bits, bound {:g}: {} more stay in fp32", name,
                            psnr.worst(), quantizer.rounded(), quantizer.products(), bound,
                            std::min(more, quantizer.rounded())));
    quantizer.keep_worst(more, fmt::format("with it {} is at {:.1f} dB, bound {:g}", name, psnr.worst(), bound));
  }
}

}  // namespace

void add_quantize_flags(CLI::App& command, QuantizeFlags& flags) {
  command
      .add_option("--keep", flags.keep, "of pictures in int8: products of the UNet that stay in fp32, by their result")
      ->delimiter(',');
  command
      .add_option("--keep-below", flags.keep_below,
                  "of pictures in int8: products whose own signal to noise is below so many dB stay in fp32")
      ->capture_default_str();
  command.add_option(
      "--isa", flags.isa,
      "of pictures in int8: kernels that it is to be fast on, which decides what rounds: avx2, avx512, amx "
      "(default: the best here)");
}

QuantizedGraph quantize_picture_graph(const std::string& name, ir::Graph floats,
                                      const verify::PictureRecording& recording, const QuantizeFlags& flags,
                                      const runtime::GraphOptions& options, const Output& output) {
  if (name != kQuantised) {
    const std::vector<plan::Island> islands =
        all_products(floats, "runs once for a picture, where 8 bits would save nothing");
    return {std::move(floats), islands};
  }
  calibrate::QuantizerOptions quantizing{.only_faster = true,
                                         .keep_below = flags.keep_below,
                                         .run = options,
                                         .progress = output.progress(ProgressUnit::steps)};
  for (const std::string& value : flags.keep) quantizing.keep[value] = "asked for";
  return with_context(fmt::format("quantising \"{}\"", name), [&]() -> QuantizedGraph {
    calibrate::GraphQuantizer quantizer(std::move(floats), samples_of(recording, name), quantizing);
    output.end_progress();
    const verify::ComponentPsnr psnr = hold_bound(quantizer, name, recording, options, output);
    const auto& costs = quantizer.costs();
    const auto worst =
        std::min_element(costs.begin(), costs.end(), [](const auto& a, const auto& b) { return a.db < b.db; });
    output.note(fmt::format(
        "{}: {} of {} products in 8 bits, calibrated on {} calls; the least signal to noise of one is {:.1f} dB "
        "(\"{}\"), PSNR of its outputs {:.1f} dB, of steps {:.1f} dB",
        name, quantizer.rounded(), quantizer.products(), psnr.runs, worst->db, worst->value, psnr.least,
        fmt::join(psnr.steps, ", ")));
    return {quantizer.graph(), quantizer.kept()};
  });
}

}  // namespace lathe::cli
