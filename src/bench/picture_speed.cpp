#include "bench/picture_speed.h"

#include <algorithm>
#include <numeric>

#include "bench/bench.h"
#include "bench/graph_speed.h"

namespace lathe::bench {
namespace {

using Data = runtime::GraphSession::Data;

// Inputs of the graph's types with the lengths of a run; times are those of the middle of a schedule.
Data inputs_of(const plan::GraphModel& model, const op::Bindings& lengths) {
  constexpr float kTime = 500;
  Data inputs;
  for (const int64_t input : model.plan.inputs) {
    const plan::GraphValue& value = model.plan.values[size_t(input)];
    op::TypeInfo type = value.type;
    for (tensor::Dim& dim : type.shape) dim = dim.bind(lengths);
    inputs.emplace(value.name,
                   value.name == "timestep" ? tensor::Tensor::scalar<float>(kTime) : sample_input(value.name, type));
  }
  return inputs;
}

}  // namespace

void run_models(const PictureBench& bench, const std::function<void(const PictureTest&)>& on_test) {
  const contract::Pictures& contract = bench.contract;
  const auto measure = [&](const std::string& graph, const std::vector<std::pair<std::string, int64_t>>& tests) {
    const auto model = bench.graphs(graph);
    runtime::GraphSession session(model, bench.options);
    for (const auto& [test, rows] : tests) {
      const auto lengths = pipeline::picture_lengths(contract, bench.request, graph, rows, contract.text_tokens);
      const double products = session.measured(lengths).multiplications;
      GraphResult result =
          run(session, inputs_of(*model, lengths), {.repeats = bench.repeats, .warmup = 1, .min_ms = 0});
      on_test({test, rows, 2 * products, std::move(result.samples), result.median});
    }
  };
  for (const char* encoder : {"text_encoder", "text_encoder_2"}) {
    const bool there = std::find(bench.names.begin(), bench.names.end(), encoder) != bench.names.end();
    if (there) measure(encoder, {{encoder, 1}});
  }
  const bool guided = pipeline::is_guided(contract, bench.request);
  std::vector<std::pair<std::string, int64_t>> steps = {{"unet", 1}};
  if (guided) steps.emplace_back("unet_guided", 2 * bench.request.batch);
  if (!guided && bench.request.batch > 1) steps.emplace_back("unet_batch", bench.request.batch);
  measure("unet", steps);
  measure("vae_decoder", {{"vae_decoder", 1}});
}

double picture_ms(const pipeline::PictureResult& result) {
  return result.text_ms + result.encode_ms + result.decode_ms +
         std::accumulate(result.step_ms.begin(), result.step_ms.end(), 0.0);
}

double picture_flop(const contract::Pictures& contract, const pipeline::PictureRequest& request,
                    const pipeline::PictureMemory& memory, size_t unet_calls) {
  double products = 0;
  for (const pipeline::PicturePart& part : memory.parts) {
    const bool text = part.graph.starts_with("text_encoder");
    const double calls = text                          ? (pipeline::is_guided(contract, request) ? 2 : 1)
                         : part.graph == "unet"        ? double(unet_calls)
                         : part.graph == "vae_decoder" ? double(request.batch)
                                                       : 1;
    products += calls * part.multiplications;
  }
  return 2 * products;
}

}  // namespace lathe::bench
