// The tiles of AMX in memory, with what the instructions do and what they refuse (Intel SDM, volume 2; AMX chapter of
// volume 1). Each thread has its own, as a core has.
//
// What an instruction would fault on, or read as something else than the kernel means, is thrown as an internal error
// that says what is wrong. Kernels are noexcept: there it ends the program with that message.
#pragma once

#include "backend/cpu/tiles.h"

namespace lathe::backend::cpu::emulation {

void configure(const TileConfig& config);
void release() noexcept;
// Whether this thread holds tiles.
bool is_configured() noexcept;

void zero(int tile);
void load(int tile, const void* memory, int64_t stride);
void store(int tile, void* memory, int64_t stride);
void multiply(TileProduct product, int sums, int rows, int weights);

}  // namespace lathe::backend::cpu::emulation
