#include "backend/cpu/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "base/error.h"

namespace lathe::backend::cpu {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"avx2", "avx512", "amx", "amx_emulated"};

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// All zero where the processor does not know the leaf.
Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

// XCR0: the register states that the operating system saves. Call only where CPUID says OSXSAVE.
uint64_t saved_states() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

bool bit(uint32_t word, int index) {
  return (word >> index) & 1u;
}

// Linux gives the tile registers only to processes that ask.
bool request_tile_permission() {
#if defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

struct Features {
  bool avx2 = false, avx512 = false, avx512_bf16 = false, amx = false;
};

// Bits as in the Intel SDM, volume 2A, CPUID.
Features detect() {
  Features found;
  const Registers one = cpuid(1, 0);
  const Registers seven = cpuid(7, 0);
  const bool fma = bit(one.ecx, 12), osxsave = bit(one.ecx, 27), avx = bit(one.ecx, 28),
             f16c = bit(one.ecx, 29);
  if (!osxsave || !avx) return found;
  const uint64_t states = saved_states();
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6, kTiles = 0x60000;
  const bool bmi = bit(seven.ebx, 3) && bit(seven.ebx, 8);
  found.avx2 = bit(seven.ebx, 5) && fma && f16c && bmi && (states & kYmm) == kYmm;
  const bool f = bit(seven.ebx, 16), dq = bit(seven.ebx, 17), bw = bit(seven.ebx, 30),
             vl = bit(seven.ebx, 31);
  const bool vnni = bit(seven.ecx, 11);
  found.avx512 = found.avx2 && f && dq && bw && vl && vnni && (states & kZmm) == kZmm;
  found.avx512_bf16 = found.avx512 && bit(cpuid(7, 1).eax, 5);
  const bool tiles = bit(seven.edx, 24) && bit(seven.edx, 25) && bit(seven.edx, 22);  // tile, int8, bf16
  found.amx = found.avx512_bf16 && tiles && (states & kTiles) == kTiles && request_tile_permission();
  return found;
}

const Features& features() {
  static const Features found = detect();
  return found;
}

}  // namespace

std::string_view to_string(Isa isa) {
  return kNames[size_t(isa)];
}

std::optional<Isa> find_isa(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return Isa(i);
  }
  return std::nullopt;
}

bool has_isa(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return features().avx2;
    case Isa::avx512:
      return features().avx512;
    case Isa::amx:
      return features().amx;
    case Isa::amx_emulated:
      return features().avx512;
  }
  return false;
}

bool has_avx512_bf16() {
  return features().avx512_bf16;
}

Isa best_isa() {
  for (const Isa isa : {Isa::amx, Isa::avx512, Isa::avx2}) {
    if (has_isa(isa)) return isa;
  }
  fail(ErrorCode::unsupported, "this processor lacks AVX2, FMA, F16C or BMI2");
}

}  // namespace lathe::backend::cpu
