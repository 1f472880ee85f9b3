// The names of norms and activations of lathe.Linear.
#pragma once

#include <optional>
#include <string_view>
#include <utility>

#include "backend/cpu/linear.h"

namespace lathe::backend::cpu {

inline Norm norm_of(std::string_view name) {
  return name == "rms" ? Norm::rms : name == "layer" ? Norm::layer : Norm::none;
}

inline std::optional<Activation> find_activation(std::string_view name) {
  static constexpr std::pair<std::string_view, Activation> kNames[] = {
      {"none", Activation::none},           {"silu_gate", Activation::silu_gate},
      {"gelu_gate", Activation::gelu_gate}, {"gelu_tanh_gate", Activation::gelu_tanh_gate},
      {"gelu", Activation::gelu},           {"gelu_tanh", Activation::gelu_tanh},
      {"silu", Activation::silu},           {"relu", Activation::relu},
  };
  for (const auto& [known, activation] : kNames) {
    if (known == name) return activation;
  }
  return std::nullopt;
}

}  // namespace lathe::backend::cpu
