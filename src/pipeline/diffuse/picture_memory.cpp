#include "pipeline/diffuse/picture_memory.h"

#include <algorithm>

#include "base/error.h"
#include "pipeline/diffuse/preview.h"

namespace lathe::pipeline {
namespace {

double megabytes(uint64_t bytes) {
  return double(bytes) / 1e6;
}

// What the options of a smaller run would be: fewer pictures at once, then a smaller picture. Empty: none fits.
std::string smaller_options(const contract::Pictures& contract, const PictureRequest& request,
                            const std::function<bool(const PictureRequest&)>& fits) {
  PictureRequest smaller = request;
  while (smaller.batch > 1) {
    smaller.batch /= 2;
    if (fits(smaller)) return fmt::format("--batch {}", smaller.batch);
  }
  const int64_t multiple = contract.latent_scale * 8;  // whole at every level of the UNet
  // An eighth less, and again.
  while (smaller.width > multiple && smaller.height > multiple) {
    smaller.width = std::max(multiple, smaller.width * 7 / 8 / multiple * multiple);
    smaller.height = std::max(multiple, smaller.height * 7 / 8 / multiple * multiple);
    if (!fits(smaller)) continue;
    return fmt::format("{}--width {} --height {}", request.batch > 1 ? "--batch 1 " : "", smaller.width,
                       smaller.height);
  }
  return "";
}

}  // namespace

const PicturePart& PictureMemory::largest() const {
  LATHE_CHECK(!parts.empty());
  const auto with_pictures = [&](const PicturePart& part) {
    return part.bytes() + (part.graph == "vae_decoder" ? picture_bytes : 0);
  };
  return *std::max_element(parts.begin(), parts.end(), [&](const PicturePart& a, const PicturePart& b) {
    return with_pictures(a) < with_pictures(b);
  });
}

uint64_t PictureMemory::peak_bytes() const {
  const PicturePart& part = largest();
  return part.bytes() + (part.graph == "vae_decoder" ? picture_bytes : 0);
}

uint64_t PictureMemory::sum_bytes() const {
  uint64_t sum = picture_bytes;
  for (const PicturePart& part : parts) sum += part.bytes();
  return sum;
}

const PicturePart& PictureMemory::get(std::string_view graph) const {
  const auto it =
      std::find_if(parts.begin(), parts.end(), [&](const PicturePart& part) { return part.graph == graph; });
  LATHE_CHECK(it != parts.end(), "no part \"{}\"", graph);
  return *it;
}

bool is_guided(const contract::Pictures& contract, const PictureRequest& request) {
  return request.guidance > 1 && !contract.guidance_embedded;
}

op::Bindings picture_lengths(const contract::Pictures& contract, const PictureRequest& request,
                             const std::string& graph, int64_t rows, int64_t tokens) {
  const int64_t height = request.height / contract.latent_scale, width = request.width / contract.latent_scale;
  return {{"batch_size", graph == "unet" ? rows : 1},
          {"sequence_length", graph == "unet" ? tokens : contract.text_tokens},
          {"height", height},
          {"width", width},
          {"latent_height", height},
          {"latent_width", width},
          {"sample_height", request.height},
          {"sample_width", request.width}};
}

struct PictureMeter::Entry {
  MeasurableGraph graph;
  runtime::GraphSession session;

  Entry(MeasurableGraph g, const runtime::GraphOptions& options) : graph(std::move(g)), session(graph.model, options) {}
};

PictureMeter::PictureMeter(const contract::Pictures& contract, MeasurableGraphs graphs,
                           const runtime::GraphOptions& options, bool preview)
    : contract_(contract), graphs_(std::move(graphs)), options_(options), preview_(preview) {}
PictureMeter::~PictureMeter() = default;

PictureMeter::Entry& PictureMeter::entry(const std::string& name) {
  auto& found = entries_[name];
  if (!found) found = std::make_unique<Entry>(graphs_.get(name), options_);
  return *found;
}

PictureMemory PictureMeter::predict(const PictureRequest& request) {
  const int64_t rows = request.batch * (is_guided(contract_, request) ? 2 : 1);
  PictureMemory memory;
  for (const char* name : {"text_encoder", "text_encoder_2", "vae_encoder", "unet", "vae_decoder", "safety_checker"}) {
    if (name == std::string_view("vae_encoder") && !request.image.defined()) continue;
    if (name == std::string_view("safety_checker") && !request.safety_checker) continue;
    if (std::find(graphs_.names.begin(), graphs_.names.end(), name) == graphs_.names.end()) continue;
    Entry& part = entry(name);
    const runtime::BoundGraph bound =
        part.session.measured(picture_lengths(contract_, request, name, rows, contract_.text_tokens));
    memory.parts.push_back({.graph = name,
                            .weight_bytes = part.graph.weight_bytes,
                            .working_bytes = std::max<uint64_t>(bound.arena_bytes, part.graph.packing_bytes),
                            .multiplications = bound.multiplications});
  }
  if (preview_) {
    PictureRequest small = request;
    small.width = small.height = kPreviewSide * contract_.latent_scale;
    Entry& decoder = entry("vae_decoder");
    const auto bound =
        decoder.session.measured(picture_lengths(contract_, small, "vae_decoder", 1, contract_.text_tokens));
    for (PicturePart& part : memory.parts) {
      if (part.graph == "unet") part.working_bytes += decoder.graph.weight_bytes + bound.arena_bytes;
    }
  }
  memory.picture_bytes = uint64_t(request.batch * request.width * request.height) * 3 * sizeof(float);
  return memory;
}

PictureMemory PictureMeter::require(const PictureRequest& request, uint64_t available) {
  PictureMemory memory = predict(request);
  if (memory.peak_bytes() <= available) return memory;
  const std::string instead = smaller_options(
      contract_, request, [&](const PictureRequest& wish) { return predict(wish).peak_bytes() <= available; });
  const PicturePart& part = memory.largest();
  fail(ErrorCode::resource,
       "{} of {} x {} pixels needs {:.0f} MB of memory ({}: {:.0f} MB of weights, {:.0f} MB to work in{}), {:.0f} MB "
       "are available; {}; --ignore-memory tries it",
       request.batch == 1 ? "a picture" : fmt::format("a batch of {} pictures", request.batch), request.width,
       request.height, megabytes(memory.peak_bytes()), part.graph, megabytes(part.weight_bytes),
       megabytes(part.working_bytes),
       part.graph == "vae_decoder" ? fmt::format(", {:.0f} MB of pictures", megabytes(memory.picture_bytes)) : "",
       megabytes(available), instead.empty() ? "no smaller picture fits either" : fmt::format("{} would fit", instead));
}

}  // namespace lathe::pipeline
