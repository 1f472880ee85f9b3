// Layouts and roundings by the names plans store.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "backend/cpu/linear.h"

namespace lathe::backend::cpu {

inline constexpr std::array kAllLayouts = {Layout::f32_panel,  Layout::f16_panel,  Layout::bf16_panel,
                                           Layout::q4_0_panel, Layout::q4_1_panel, Layout::q5_0_panel,
                                           Layout::q5_1_panel, Layout::q8_0_panel, Layout::q4_k_panel,
                                           Layout::q5_k_panel, Layout::q6_k_panel};

inline std::optional<Layout> find_layout(std::string_view name) {
  for (const Layout layout : kAllLayouts) {
    if (to_string(layout) == name) return layout;
  }
  return std::nullopt;
}

inline std::optional<Compute> find_compute(std::string_view name) {
  for (const Compute compute : {Compute::f32, Compute::bf16, Compute::f16, Compute::i8, Compute::i16}) {
    if (to_string(compute) == name) return compute;
  }
  return std::nullopt;
}

}  // namespace lathe::backend::cpu
