#include "frontend/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace lathe::frontend {
namespace {

RopeScaling scaling_of(std::string_view type, std::string_view where) {
  if (type.empty() || type == "default" || type == "none") return RopeScaling::none;
  if (type == "linear") return RopeScaling::linear;
  if (type == "dynamic") return RopeScaling::dynamic;
  if (type == "llama3") return RopeScaling::llama3;
  if (type == "yarn") return RopeScaling::yarn;
  fail(ErrorCode::unsupported, "{}: type \"{}\" is not known; known: default, linear, dynamic, llama3, yarn", where,
       type);
}

// 1 / theta^(2i / dims), in the fp32 steps of transformers.
std::vector<float> plain_frequencies(const RopeConfig& rope) {
  std::vector<float> frequencies;
  for (int64_t i = 0; i < rope.dims; i += 2) {
    const float exponent = float(i) / float(rope.dims);
    frequencies.push_back(1.0f / float(std::pow(rope.theta, double(exponent))));
  }
  return frequencies;
}

// Llama 3.1: long wavelengths are divided by factor, short ones kept, those between interpolated.
void scale_llama3(const RopeConfig& rope, std::vector<float>& frequencies) {
  const double low_wavelength = rope.original_context / rope.low_freq_factor;
  const double high_wavelength = rope.original_context / rope.high_freq_factor;
  for (float& frequency : frequencies) {
    const float wavelength = float(2 * std::numbers::pi) / frequency;
    if (wavelength > float(low_wavelength)) {
      frequency = frequency / float(rope.factor);
    } else if (!(wavelength < float(high_wavelength))) {
      const float smooth = (float(rope.original_context) / wavelength - float(rope.low_freq_factor)) /
                           float(rope.high_freq_factor - rope.low_freq_factor);
      frequency = (1 - smooth) * frequency / float(rope.factor) + smooth * frequency;
    }
  }
}

double yarn_mscale(double scale, double mscale) {
  return scale <= 1 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

// YaRN (Peng et al. 2023, arXiv 2309.00071): a ramp between interpolated and kept frequencies.
float scale_yarn(const RopeConfig& rope, std::vector<float>& frequencies) {
  const auto correction_dim = [&](double rotations) {
    return double(rope.dims) * std::log(rope.original_context / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  double low = correction_dim(rope.beta_fast);
  double high = correction_dim(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(rope.dims - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float ramp = std::clamp(float((double(i) - low) / (high - low)), 0.0f, 1.0f);
    const float keep = 1 - ramp;
    frequencies[i] = frequencies[i] / float(rope.factor) * (1 - keep) + frequencies[i] * keep;
  }
  if (rope.attention_factor != 0) return float(rope.attention_factor);
  if (rope.mscale != 0 && rope.mscale_all_dim != 0) {
    return float(yarn_mscale(rope.factor, rope.mscale) / yarn_mscale(rope.factor, rope.mscale_all_dim));
  }
  return float(yarn_mscale(rope.factor, 1));
}

}  // namespace

RopeConfig read_rope(const Json& config, int64_t dims, int64_t context, double default_theta) {
  RopeConfig rope;
  rope.dims = dims;
  const Json* parameters = find_member(config, "rope_parameters");
  const Json* scaling = parameters ? parameters : find_member(config, "rope_scaling");
  rope.theta =
      find_number(config, "rope_theta").value_or(find_number(config, "rotary_emb_base").value_or(default_theta));
  rope.original_context = double(context);
  // As the config calls the object the numbers below stand in.
  const std::string_view where = parameters ? "rope_parameters" : "rope_scaling";
  if (scaling) {
    rope.theta = find_number(*scaling, "rope_theta").value_or(rope.theta);
    const auto type = find_string(*scaling, "rope_type");
    rope.scaling = scaling_of(type ? *type : find_string(*scaling, "type").value_or("default"), where);
    if (rope.scaling != RopeScaling::none) rope.factor = get_number(*scaling, "factor");
    const auto read = [&](const char* key, double& field) { field = find_number(*scaling, key).value_or(field); };
    if (rope.scaling == RopeScaling::llama3 || rope.scaling == RopeScaling::yarn) {
      read("original_max_position_embeddings", rope.original_context);
    }
    read("low_freq_factor", rope.low_freq_factor);
    read("high_freq_factor", rope.high_freq_factor);
    read("beta_fast", rope.beta_fast);
    read("beta_slow", rope.beta_slow);
    read("attention_factor", rope.attention_factor);
    read("mscale", rope.mscale);
    read("mscale_all_dim", rope.mscale_all_dim);
    rope.truncate = find_bool(*scaling, "truncate").value_or(true);
  }
  if (!(rope.theta > 1) || std::isinf(rope.theta))
    fail(ErrorCode::invalid_input, "rope_theta: expected a number above 1, found {}", rope.theta);
  if (!(rope.factor >= 1) || std::isinf(rope.factor))
    fail(ErrorCode::invalid_input, "{}: factor: expected 1 or more, found {}", where, rope.factor);
  if (rope.dims <= 0 || rope.dims % 2 != 0) {
    fail(ErrorCode::invalid_input, "rotary width: expected even and positive, found {}", rope.dims);
  }
  if (rope.scaling == RopeScaling::dynamic && rope.dims <= 2) {
    fail(ErrorCode::invalid_input, "dynamic rope needs a rotary width above 2, found {}", rope.dims);
  }
  if (rope.scaling == RopeScaling::llama3 && !(rope.high_freq_factor > rope.low_freq_factor)) {
    fail(ErrorCode::invalid_input, "{}: high_freq_factor {} is not above low_freq_factor {}", where,
         rope.high_freq_factor, rope.low_freq_factor);
  }
  return rope;
}

RopeTable rope_table(const RopeConfig& rope) {
  RopeTable table{.inverse_frequencies = plain_frequencies(rope)};
  switch (rope.scaling) {
    case RopeScaling::none:
    case RopeScaling::dynamic:
      break;
    case RopeScaling::linear:
      for (float& frequency : table.inverse_frequencies) frequency /= float(rope.factor);
      break;
    case RopeScaling::llama3:
      scale_llama3(rope, table.inverse_frequencies);
      break;
    case RopeScaling::yarn:
      table.attention_factor = scale_yarn(rope, table.inverse_frequencies);
      break;
  }
  for (size_t i = 0; i < table.inverse_frequencies.size(); ++i) {
    if (!std::isfinite(table.inverse_frequencies[i])) {
      fail(ErrorCode::invalid_input, "rope parameters make frequency {} {}", i, table.inverse_frequencies[i]);
    }
  }
  if (!std::isfinite(table.attention_factor)) {
    fail(ErrorCode::invalid_input, "rope parameters make the attention factor {}", table.attention_factor);
  }
  return table;
}

}  // namespace lathe::frontend
