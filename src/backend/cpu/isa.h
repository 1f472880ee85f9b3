// The tiers of CPU kernels, and which of them this machine runs.
#pragma once

#include <optional>
#include <string_view>

namespace lathe::backend::cpu {

// Each tier includes the ones before it. avx2: AVX2 + FMA + F16C. avx512: F, BW, VL, DQ, VNNI (and BF16 where
// avx512_bf16 says so). amx: avx512 + AMX int8 and bf16, with the permission of the kernel. amx_emulated: the kernels
// of amx on a machine of avx512, their tiles in memory (tile_emulation.h); for tests, never chosen but by its name.
enum class Isa { avx2, avx512, amx, amx_emulated };

std::string_view to_string(Isa isa);
std::optional<Isa> find_isa(std::string_view name);
// The best tier this machine runs. Throws unsupported on a machine without AVX2, FMA and F16C.
Isa best_isa();
// True if this machine runs `isa`.
bool has_isa(Isa isa);
bool has_avx512_bf16();
constexpr bool has_tiles(Isa isa) {
  return isa >= Isa::amx;
}

}  // namespace lathe::backend::cpu
