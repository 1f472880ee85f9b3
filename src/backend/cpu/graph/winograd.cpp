// lathe.Conv of 3 x 3 on weights in conv_winograd: blocks of tiles are transformed, multiplied plane by plane,
// transformed back and finished.
#include <algorithm>
#include <cstring>

#include "backend/cpu/conv_epilogue.h"
#include "backend/cpu/graph_layouts.h"
#include "backend/cpu/products.h"
#include "backend/cpu/tiers.h"
#include "backend/cpu/winograd_tiles.h"

namespace lathe::backend {
namespace {

constexpr int64_t kOut = cpu::kWinogradOutput, kPlanes = cpu::kWinogradPlanes;
constexpr int64_t kCacheFloats = (int64_t{768} << 10) / 4;  // of a block's planes, in the second cache

struct Prepared : cpu::WinogradTiles {
  int64_t padded;  // features in whole panels
  int64_t block;   // tiles that are transformed together
  cpu::Epilogue epilogue;
};

std::optional<std::string> fit(Problem& problem) {
  if (problem.inputs[cpu::kConvWeights].layout != cpu::kConvWinograd) return "weights in another layout";
  cpu::set_channels_last(problem);
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  static_cast<cpu::WinogradTiles&>(*p) = cpu::winograd_tiles(problem);
  p->padded = (p->features + 15) / 16 * 16;
  // Whole tiles of products (6 or 8 rows), no more than a member has.
  const int64_t fits = kCacheFloats / (kPlanes * (p->channels + p->padded)) / 24 * 24;
  const int64_t own = (p->tiles + problem.threads - 1) / problem.threads;
  p->block = std::clamp<int64_t>(fits, 24, std::max<int64_t>(24, (own + 23) / 24 * 24));
  p->epilogue = cpu::conv_epilogue(problem);
  return p;
}

struct Memory {
  float* zeros;  // a row of padding
  float* v;      // [36][block][channels]
  float* m;      // [36][block][padded]
  float* out;    // [16][padded]
  float* sums;
};
int64_t zero_floats(const Prepared& p) {
  return (p.channels + 31) / 16 * 16;
}
int64_t v_floats(const Prepared& p) {
  return (kPlanes * p.block * p.channels + 15) / 16 * 16;
}
int64_t m_floats(const Prepared& p) {
  return kPlanes * p.block * p.padded;
}
int64_t member_floats(const Prepared& p) {
  return zero_floats(p) + v_floats(p) + m_floats(p) + kOut * kOut * p.padded + cpu::kTileFloats;
}

size_t scratch_size(const Problem& problem) {
  const auto p = prepare(problem);
  return size_t(member_floats(*static_cast<const Prepared*>(p.get())) * problem.threads) * sizeof(float);
}

void transform_input(const GraphCall& call, const Prepared& p, const Memory& memory, int64_t begin,
                     int64_t count) noexcept {
  const cpu::WinogradTier& tier = cpu::winograd_tier(*call.problem);
  const float* rows[kPlanes];
  for (int64_t t = 0; t < count; ++t) {
    p.rows_of(begin + t, call.input(0), memory.zeros, rows);
    tier.input(rows, p.channels, memory.v + t * p.channels, p.block * p.channels);
  }
}

void transform_output(const GraphCall& call, const Prepared& p, const Memory& memory, int64_t begin,
                      int64_t count) noexcept {
  for (int64_t t = 0; t < count; ++t) {
    cpu::finish_winograd_tile(call, p, p.epilogue,
                              {.tile = begin + t,
                               .m = memory.m + t * p.padded,
                               .m_stride = p.block * p.padded,
                               .width = p.padded,
                               .out = memory.out,
                               .feature = 0,
                               .features = p.features});
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  float* own = reinterpret_cast<float*>(call.scratch) + member_floats(p) * member.index();
  float* v = own + zero_floats(p);
  float* out = v + v_floats(p) + m_floats(p);
  const Memory memory{own, v, v + v_floats(p), out, out + kOut * kOut * p.padded};
  std::memset(memory.zeros, 0, size_t(zero_floats(p)) * sizeof(float));
  const auto [begin, end] = member.share(p.tiles);
  for (int64_t at = begin; at < end; at += p.block) {
    const int64_t count = std::min(p.block, end - at);
    transform_input(call, p, memory, at, count);
    for (int64_t plane = 0; plane < kPlanes; ++plane) {
      cpu::multiply_panels(cpu::conv_tier(*call.problem),
                           {.a = memory.v + plane * p.block * p.channels,
                            .a_stride = p.channels,
                            .rows = count,
                            .k = p.channels,
                            .n = p.padded,
                            .panels = call.input(cpu::kConvWeights) + plane * p.padded * p.channels,
                            .first = 0,
                            .end = p.padded / 16,
                            .y = memory.m + plane * p.block * p.padded,
                            .y_stride = p.padded,
                            .sums = memory.sums});
    }
    transform_output(call, p, memory, at, count);
  }
}

}  // namespace

const GraphKernel& winograd_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.winograd",
                                     .ops = {"lathe.Conv"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
