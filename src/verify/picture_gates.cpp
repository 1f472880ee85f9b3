#include "verify/picture_gates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "op/values.h"
#include "pipeline/diffuse/guidance.h"
#include "pipeline/diffuse/scheduler.h"
#include "plan/precision.h"
#include "verify/precision_cost.h"

namespace lathe::verify {
namespace {

using pipeline::PictureGraphs;
using tensor::Tensor;

constexpr int kSteps = 4;
constexpr int64_t kReducedSide = 16;  // of latents
constexpr double kMost = 999;         // dB that a receipt can hold
constexpr double kPictureRange = 2;   // -1 to 1
constexpr double kBlank = 2.0 / 255;  // deviation of a picture of one colour

GraphData copy_of(const GraphData& data) {
  GraphData copy;
  for (const auto& [name, datum] : data) {
    if (datum.is_tensor()) copy.emplace(name, op::clone(datum.tensor()));
  }
  return copy;
}

pipeline::PictureRequest make_request(const PictureSetup& setup) {
  const contract::Pictures& contract = setup.contract;
  pipeline::PictureRequest request;
  request.prompt = "a red circle on a white background";
  request.steps = kSteps;
  request.scheduler = "ddim";
  const int64_t side = setup.full ? contract.sample_size : std::min(kReducedSide, contract.sample_size);
  request.width = request.height = side * contract.latent_scale;
  if (contract.unet_channels == contract.latent_channels) return request;
  // Paints the right half of a slope anew.
  request.image = Tensor(tensor::DType::f32, {1, 3, request.height, request.width});
  request.mask = Tensor(tensor::DType::f32, {1, 1, request.height, request.width});
  const auto image = request.image.data<float>();
  for (size_t i = 0; i < image.size(); ++i) {
    const auto column = int64_t(i) % request.width;
    image[i] = 2 * float(column) / float(request.width) - 1;
    if (i < size_t(request.mask.size())) request.mask.data<float>()[i] = 2 * column >= request.width ? 1.0f : 0.0f;
  }
  return request;
}

// The prediction that a step takes out of what the UNet gives.
std::vector<float> prediction_of(const PictureRecording& recording, const GraphData& results) {
  const auto values = results.at("out_sample").tensor().data<float>();
  const size_t size = recording.guided ? values.size() / 2 : values.size();
  std::vector<float> prediction(values.begin(), values.begin() + std::ptrdiff_t(size));
  if (recording.guided) pipeline::guide(prediction, values.subspan(size), recording.guidance, 0, 1);
  return prediction;
}

double deviation(std::span<const float> values) {
  double sum = 0, squares = 0;
  for (const float value : values) {
    const double pixel = std::clamp(double(value), -1.0, 1.0);
    sum += pixel;
    squares += pixel * pixel;
  }
  const double count = double(std::max<size_t>(1, values.size()));
  return std::sqrt(std::max(0.0, squares / count - sum / count * (sum / count)));
}

// Each step once more from the latents it began with, by what the UNet of the lower precision predicts there.
std::vector<double> step_psnrs(const PictureRecording& recording, const std::vector<std::vector<float>>& predictions) {
  std::vector<std::vector<float>> expected;
  for (const PictureCall& call : recording.calls) {
    if (call.graph == "unet") expected.push_back(prediction_of(recording, call.results));
  }
  std::vector<double> values;
  for (size_t at = 0; at < expected.size(); ++at) {
    const auto scheduler = pipeline::make_scheduler(recording.scheduler, recording.steps,
                                                    {.eta = 0, .batch = 1, .strength = recording.strength});
    std::vector<float> sample;
    for (size_t step = 0; step <= at; ++step) {  // what it remembers of earlier ones
      sample = recording.latents[step];
      scheduler->step(step, step < at ? expected[step] : predictions[at], sample, {});
    }
    values.push_back(std::clamp(psnr(recording.latents[at + 1], sample), -kMost, kMost));
  }
  return values;
}

// Of pictures, as they are shown.
double picture_psnr(std::span<const float> expected, std::span<const float> found) {
  double squares = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::clamp(double(expected[i]), -1.0, 1.0) - std::clamp(double(found[i]), -1.0, 1.0);
    squares += difference * difference;
  }
  if (squares == 0) return kMost;
  return 10 * std::log10(kPictureRange * kPictureRange * double(expected.size()) / squares);
}

class PictureGates {
 public:
  PictureGates(const PictureSetup& setup, const PictureRecording& recording, const PictureGraphs& found,
               const std::string& precision)
      : setup_(setup),
        recording_(recording),
        found_(found),
        bound_(psnr_bound(precision)),
        label_(plan::precision_of(precision)) {}

  std::vector<plan::Gate> run() {
    std::set<std::string> done;
    for (const PictureCall& call : recording_.calls) {
      if (done.insert(call.graph).second) component(call.graph);
    }
    picture();
    return std::move(gates_);
  }

 private:
  void component(const std::string& graph) {
    const ComponentPsnr psnr = component_psnr(recording_, graph, found_(graph), setup_.options);
    add(fmt::format("9 {} in {} against fp32", graph, label_), psnr.least,
        fmt::format("PSNR, at least; {} runs on the inputs that a picture gave", psnr.runs));
    if (psnr.steps.empty()) return;
    add(fmt::format("9 steps in {} against fp32, from the same latents", label_),
        *std::min_element(psnr.steps.begin(), psnr.steps.end()),
        fmt::format("PSNR, at least; {} steps: {:.1f}", psnr.steps.size(), fmt::join(psnr.steps, ", ")));
  }

  void add(std::string name, double value, std::string note) {
    gates_.push_back({.name = std::move(name),
                      .value = value,
                      .bound = bound_,
                      .pass = value >= bound_,
                      .unit = "dB",
                      .note = std::move(note)});
  }

  void picture() {
    const PictureRecording found = record_pictures(setup_, found_);
    const auto a = recording_.images.data<float>(), b = found.images.data<float>();
    gates_.push_back({.name = fmt::format("9 the picture in {} against fp32", label_),
                      .value = picture_psnr(a, b),
                      .bound = 0,
                      .pass = true,
                      .unit = "dB",
                      .note = "PSNR; told, not bounded: small differences grow from step to step"});
    const bool blank = deviation(b) < kBlank && deviation(a) >= kBlank;
    gates_.push_back({.name = "9 not blank where fp32 is not",
                      .value = deviation(b) * 255 / kPictureRange,
                      .bound = kBlank * 255 / kPictureRange,
                      .pass = !blank,
                      .unit = "of 255, deviation of the pixels",
                      .note = fmt::format("fp32: {:.2f}", deviation(a) * 255 / kPictureRange)});
  }

  const PictureSetup& setup_;
  const PictureRecording& recording_;
  const PictureGraphs& found_;
  double bound_;
  std::string label_;
  std::vector<plan::Gate> gates_;
};

}  // namespace

PictureRecording record_pictures(const PictureSetup& setup, const PictureGraphs& graphs) {
  PictureRecording recording;
  const pipeline::PictureRequest request = make_request(setup);
  std::map<const plan::GraphModel*, std::string> names;
  const PictureGraphs named = [&](const std::string& name) {
    auto model = graphs(name);
    names[model.get()] = name;
    return model;
  };
  pipeline::DiffuserOptions options{.graph = setup.options};
  options.graph.on_run = [&](const plan::GraphModel& model, const GraphData& inputs, const GraphData& results) {
    recording.calls.push_back({names.at(&model), copy_of(inputs), copy_of(results)});
  };
  pipeline::Diffuser diffuser(setup.contract, setup.tokenizers, named, options);
  const pipeline::PictureResult result = diffuser.run(request, [&](int, int, std::span<const float> latents) {
    recording.latents.emplace_back(latents.begin(), latents.end());
    return true;
  });
  const auto first = std::find_if(recording.calls.begin(), recording.calls.end(),
                                  [](const PictureCall& call) { return call.graph == "unet"; });
  LATHE_CHECK(first != recording.calls.end() && !recording.latents.empty(), "no step");
  const Tensor& sample = first->inputs.at("sample").tensor();  // ddim does not scale it
  const auto values = sample.data<float>().first(recording.latents[0].size());
  recording.latents.insert(recording.latents.begin(), {values.begin(), values.end()});
  recording.guided = sample.dims()[0] == 2;
  recording.images = op::clone(result.images);
  recording.scheduler = result.scheduler;
  recording.steps = result.steps;
  recording.guidance = result.guidance;
  if (request.image.defined()) recording.strength = result.strength;
  return recording;
}

std::vector<GraphData> calls_of(const PictureRecording& recording, const std::string& graph) {
  std::vector<GraphData> calls;
  for (const PictureCall& call : recording.calls) {
    if (call.graph == graph) calls.push_back(call.inputs);
  }
  return calls;
}

double ComponentPsnr::worst() const {
  return steps.empty() ? least : std::min(least, *std::min_element(steps.begin(), steps.end()));
}

ComponentPsnr component_psnr(const PictureRecording& recording, const std::string& graph,
                             std::shared_ptr<const plan::GraphModel> model, const runtime::GraphOptions& options) {
  ComponentPsnr result{.least = kMost};
  runtime::GraphSession session(std::move(model), options);
  std::vector<std::vector<float>> predictions;
  for (const PictureCall& call : recording.calls) {
    if (call.graph != graph) continue;
    const GraphData results = session.run(call.inputs);
    for (const auto& [name, expected] : call.results) {
      if (expected.tensor().dtype() != tensor::DType::f32) continue;
      const double value = psnr(expected.tensor().data<float>(), results.at(name).tensor().data<float>());
      result.least = std::min(result.least, std::clamp(value, -kMost, kMost));
    }
    if (graph == "unet") predictions.push_back(prediction_of(recording, results));
    ++result.runs;
  }
  if (!predictions.empty()) result.steps = step_psnrs(recording, predictions);
  return result;
}

std::vector<plan::Gate> picture_gates(const PictureSetup& setup, const PictureRecording& recording,
                                      const PictureGraphs& found, const std::string& precision) {
  return PictureGates(setup, recording, found, precision).run();
}

}  // namespace lathe::verify
