#include "frontend/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "frontend/config_keys.h"

namespace lathe::frontend {
namespace {

// Of rope_parameters or rope_scaling: what is read here and in rotary_fraction.
constexpr std::string_view kKeys[] = {
    "rope_type",        "type",      "rope_theta", "factor",           "original_max_position_embeddings",
    "low_freq_factor",  "beta_fast", "mscale",     "attention_factor", "partial_rotary_factor",
    "high_freq_factor", "beta_slow", "truncate",   "mscale_all_dim",
};

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

// The object that the numbers stand in, nullptr where there is none, and what the config calls it.
struct RopeObject {
  const Json* json;
  std::string_view name;
};

const Json* find_object(const Json& config, std::string_view key) {
  const Json* member = find_member(config, key);
  if (member && !member->is_object()) {
    fail(ErrorCode::invalid_input, "key \"{}\": expected object, found {}", key, member->type_name());
  }
  return member;
}

// Where both are there, one must say what the other does: which of them counts differs between programs.
RopeObject find_rope_object(const Json& config) {
  const Json* parameters = find_object(config, "rope_parameters");
  const Json* scaling = find_object(config, "rope_scaling");
  if (!parameters) return {scaling, "rope_scaling"};
  if (scaling) {
    for (const std::string_view key : kKeys) {
      const Json* value = find_member(*scaling, key);
      const Json* other = find_member(*parameters, key);
      if (value && (!other || *other != *value)) fail_key(key, *value, "rope_scaling beside rope_parameters");
    }
  }
  return {parameters, "rope_parameters"};
}

// All that stands in there is about the numbers: a key that is not known is refused, and with it parameters of one kind
// of layer or for other scalings.
void refuse_unread_keys_of(const Json& scaling, std::string_view where, double fraction) {
  for (const auto& [key, value] : scaling.items()) {
    const bool known = std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
    const bool usual = (key == "attn_factor" || key == "extrapolation_factor") && value == 1;
    const bool off = value.is_null() || value == false;
    if (!known && !usual && !off && key != "finetuned") fail_key(key, value, where);
  }
  const auto partial = find_number(scaling, "partial_rotary_factor");
  if (partial && *partial != fraction) fail_key("partial_rotary_factor", *partial, where);
}

// transformers 5 takes the length that stands outside of the object, version 4 the one inside.
void refuse_other_length(const Json& config, std::string_view where, double length) {
  const auto outside = find_number(config, "original_max_position_embeddings");
  if (outside && *outside != length) {
    fail(ErrorCode::unsupported, "original_max_position_embeddings = {} is not supported beside {} in {}", *outside,
         length, where);
  }
}

}  // namespace

double rotary_fraction(const Json& config, std::string_view key, double otherwise) {
  const RopeObject rope = find_rope_object(config);
  const auto stated = rope.json ? find_number(*rope.json, "partial_rotary_factor") : std::nullopt;
  const double fraction = stated ? *stated : find_number(config, key).value_or(otherwise);
  if (!(fraction > 0 && fraction <= 1)) {
    fail(ErrorCode::invalid_input, "{}: expected above 0 and at most 1, found {}",
         stated ? "partial_rotary_factor" : key, fraction);
  }
  return fraction;
}

RopeConfig read_rope(const Json& config, int64_t head_dim, double fraction, int64_t context, double default_theta) {
  RopeConfig rope;
  rope.dims = fraction == 1 ? head_dim : int64_t(double(head_dim) * fraction);  // exact where all of it rotates
  const auto [scaling, where] = find_rope_object(config);
  rope.theta =
      find_number(config, "rope_theta").value_or(find_number(config, "rotary_emb_base").value_or(default_theta));
  rope.original_context = double(context);
  if (scaling) {
    refuse_unread_keys_of(*scaling, where, fraction);
    rope.theta = find_number(*scaling, "rope_theta").value_or(rope.theta);
    const auto type = find_string(*scaling, "rope_type");
    rope.scaling = scaling_of(type ? *type : find_string(*scaling, "type").value_or("default"), where);
    if (rope.scaling != RopeScaling::none) rope.factor = get_number(*scaling, "factor");
    const auto read = [&](const char* key, double& field) { field = find_number(*scaling, key).value_or(field); };
    if (rope.scaling == RopeScaling::llama3 || rope.scaling == RopeScaling::yarn) {
      read("original_max_position_embeddings", rope.original_context);
      refuse_other_length(config, where, rope.original_context);
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
