// The activations of lathe.Linear as steps of a program (op/pointwise.h).
#pragma once

#include <optional>
#include <string_view>

namespace lathe::backend::cpu {

// Empty for none; nullopt for gates.
inline std::optional<std::string_view> find_step(std::string_view activation) {
  if (activation == "none") return "";
  if (activation == "relu") return "Relu 0";
  if (activation == "silu") return "Swish 0 #1";
  if (activation == "gelu") return "Gelu 0";
  if (activation == "gelu_tanh") return "GeluTanh 0";
  return std::nullopt;
}

}  // namespace lathe::backend::cpu
