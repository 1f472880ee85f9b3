#include "frontend/lora.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "frontend/lora_names.h"
#include "frontend/low_rank_source.h"
#include "io/tensor_file.h"

namespace lathe::frontend {
namespace {

using tensor::Dims;
using tensor::SourcePtr;

constexpr size_t kMostListed = 20;

int64_t inner_count(const Dims& dims) {
  return dims.empty() ? 0 : tensor::element_count(std::span(dims).subspan(1));
}

std::string shape_of(const SourcePtr& source) {
  return tensor::to_string(std::span<const int64_t>(source->dims()));
}

// How alpha and rank stand in the metadata of diffusers' files; absent there: alpha is the rank.
class AdapterConfig {
 public:
  explicit AdapterConfig(const io::TensorFile& file) {
    const std::string* text = file.find_text("lora_adapter_metadata");
    json_ = text ? parse_json(*text, "lora_adapter_metadata") : Json::object();
    if (!json_.is_object()) fail(ErrorCode::invalid_input, "lora_adapter_metadata: expected an object");
  }

  // alpha / rank, or alpha / sqrt(rank) where the file says so.
  double factor(const std::string& role, const std::string& module, double rank) const {
    if (find_bool(json_, role + ".use_dora").value_or(false)) fail(ErrorCode::unsupported, "DoRA is not supported");
    double alpha = find_number(json_, role + ".lora_alpha").value_or(rank);
    if (const Json* patterns = find_member(json_, role + ".alpha_pattern"); patterns && patterns->is_object()) {
      for (const auto& [pattern, value] : patterns->items()) {
        if (value.is_number() && (module == pattern || module.ends_with("." + pattern))) alpha = value.get<double>();
      }
    }
    const bool root = find_bool(json_, role + ".use_rslora").value_or(false);
    return alpha / (root ? std::sqrt(rank) : rank);
  }

 private:
  Json json_;
};

double scalar_of(const SourcePtr& source, const std::string& name) {
  if (tensor::element_count(source->dims()) != 1) {
    fail(ErrorCode::invalid_input, "tensor \"{}.alpha\": expected one number, found {}", name, shape_of(source));
  }
  if (!tensor::is_float(source->dtype())) {
    const tensor::Tensor whole = tensor::load(*source);
    if (whole.dtype() == tensor::DType::i64) return double(whole.data<int64_t>()[0]);
  }
  float value = 0;
  source->read_rows_f32(0, 1, std::span(&value, 1));
  return double(value);
}

// mid [rank, rank2, height, width] and down [rank2, inputs] as one [rank, inputs * height * width].
SourcePtr merged_mid(const SourcePtr& mid, const SourcePtr& down, const std::string& name) {
  const Dims& dims = mid->dims();
  if (dims.size() != 4 || down->dims().empty() || dims[1] != down->dims()[0]) {
    fail(ErrorCode::invalid_input, "tensor \"{}.lora_mid.weight\" {} does not go with the one below, {}", name,
         shape_of(mid), shape_of(down));
  }
  const auto floats = [](const SourcePtr& source) {
    std::vector<float> values(size_t(tensor::element_count(source->dims())));
    source->read_rows_f32(0, source->rows(), values);
    return values;
  };
  const std::vector<float> between = floats(mid), below = floats(down);
  const int64_t inputs = inner_count(down->dims()), places = dims[2] * dims[3];
  tensor::Tensor merged(tensor::DType::f32, {dims[0], inputs * places});
  float* out = merged.data<float>().data();
  for (int64_t a = 0; a < dims[0]; ++a) {
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t place = 0; place < places; ++place) {
        float sum = 0;
        for (int64_t b = 0; b < dims[1]; ++b) {
          sum += between[size_t((a * dims[1] + b) * places + place)] * below[size_t(b * inputs + i)];
        }
        *out++ = sum;
      }
    }
  }
  return tensor::memory_source(std::move(merged), down->origin());
}

// Empty where the layer fits onto its weight, else what does not.
std::string misfit(const LoraLayer& layer, const SourcePtr& base) {
  const Dims &up = layer.up->dims(), &down = layer.down->dims();
  const bool fits = !up.empty() && !down.empty() && down[0] > 0 && up[0] == base->dims()[0] &&
                    inner_count(up) == down[0] && inner_count(down) == inner_count(base->dims());
  return fits ? "" : fmt::format("{} x {} for a weight {}", shape_of(layer.up), shape_of(layer.down), shape_of(base));
}

[[noreturn]] void fail_misfits(const std::vector<std::string>& misfits, size_t layers) {
  std::string list;
  for (size_t i = 0; i < std::min(misfits.size(), kMostListed); ++i) list += (i == 0 ? "" : "; ") + misfits[i];
  if (misfits.size() > kMostListed) list += fmt::format("; and {} more", misfits.size() - kMostListed);
  fail(ErrorCode::invalid_input, "made for another model: {} of its {} layers do not fit this one: {}", misfits.size(),
       layers, list);
}

std::string merge(std::map<std::string, ComponentInput>& components, const LoraFile& lora) {
  const io::TensorFile file = io::TensorFile::open(lora.path);
  const AdapterConfig config(file);
  std::map<std::string, LoraLayer> layers = group_lora_layers(file);
  if (layers.empty()) fail(ErrorCode::invalid_input, "holds no LoRA (lora_down.weight, lora_A.weight)");
  const std::map<std::string, LoraTarget> targets = lora_targets(components);
  std::vector<std::string> misfits;
  std::map<std::string, int> merged;  // by role
  for (auto& [name, layer] : layers) {
    const auto target = targets.find(name);
    if (target == targets.end()) {
      misfits.push_back(fmt::format("{} (no such layer)", name));
      continue;
    }
    SourcePtr& base = components.at(target->second.role).tensors.at(target->second.tensor);
    if (layer.mid) layer.down = merged_mid(layer.mid, layer.down, name);
    if (const std::string wrong = misfit(layer, base); !wrong.empty()) {
      misfits.push_back(fmt::format("{} ({})", name, wrong));
      continue;
    }
    const auto rank = double(layer.down->dims()[0]);
    const double factor = layer.alpha ? scalar_of(layer.alpha, name) / rank
                                      : config.factor(target->second.role, target->second.module(), rank);
    base = low_rank_source(base, layer.up, layer.down, lora.scale * factor);
    ++merged[target->second.role];
  }
  if (!misfits.empty()) fail_misfits(misfits, layers.size());
  std::string note;
  for (const auto& [role, count] : merged) note += fmt::format("{}{} of {}", note.empty() ? "" : ", ", count, role);
  return fmt::format("LoRA {} x {:g}: layers {}", lora.path.filename().string(), lora.scale, note);
}

}  // namespace

LoraFile parse_lora(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return {text, 1};
  const std::string_view number = text.substr(colon + 1);
  double scale = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), scale);
  if (error != std::errc() || end != number.data() + number.size() || !std::isfinite(scale)) {
    fail(ErrorCode::usage, "--lora {}: expected FILE or FILE:SCALE, found \"{}\" for the scale", text, number);
  }
  return {text.substr(0, colon), scale};
}

std::string apply_lora(std::map<std::string, ComponentInput>& components, const LoraFile& lora) {
  return with_context(fmt::format("--lora {}", lora.path.string()), [&] { return merge(components, lora); });
}

}  // namespace lathe::frontend
