// The panels of linear.h as packed layouts.
#pragma once

#include <span>

#include "backend/packed_layout.h"

namespace lathe::backend::cpu {

std::span<const PackedLayout* const> panel_layouts();

}  // namespace lathe::backend::cpu
