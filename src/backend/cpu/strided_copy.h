// Copies of elements between walks with different strides.
#pragma once

#include "backend/graph_order.h"
#include "base/team.h"

namespace lathe::backend::cpu {

// The member's share of a walk: to[..] = from[..], elements of 1, 2, 4, 8 or 16 bytes.
void copy_share(const StridedWalk& walk, size_t element, const std::byte* from, std::byte* to,
                const TeamMember& member) noexcept;

}  // namespace lathe::backend::cpu
