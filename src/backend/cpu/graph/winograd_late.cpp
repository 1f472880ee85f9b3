// lathe.Conv of 3 x 3 whose weights would take too much memory transformed (conv_panel, or as many in 16 bits, which
// are widened first): the input of a block of tiles is transformed by all members, then each takes groups of features,
// transforms their weights into its own memory, multiplies plane by plane and finishes.
#include <algorithm>
#include <cstring>

#include "backend/cpu/conv_epilogue.h"
#include "backend/cpu/half_layouts.h"
#include "backend/cpu/products.h"
#include "backend/cpu/tiers.h"
#include "backend/cpu/winograd_tiles.h"

namespace lathe::backend {
namespace {

constexpr int64_t kOut = cpu::kWinogradOutput, kPlanes = cpu::kWinogradPlanes, kPanel = 16;
// Floats of transformed input that members share, and of transformed weights that each has.
constexpr int64_t kInputFloats = (int64_t{32} << 20) / 4;
constexpr int64_t kWeightFloats = (int64_t{16} << 20) / 4;
constexpr int64_t kMostPanels = 5;  // of a group
constexpr int64_t kTaps = 9;
constexpr int64_t kRows = 24;       // tiles are blocked in whole products (6, 8 or 12 rows)

struct Prepared : cpu::WinogradTiles {
  int64_t block;         // tiles of a block
  int64_t panels;        // of all features
  int64_t group_panels;  // that a member transforms together
  int64_t groups;
  bool widened;             // weights in 16 bits
  cpu::HalfForm form;       // of those
  cpu::HalfPanels weights;  // of those
  cpu::Epilogue epilogue;
};

std::optional<std::string> fit(Problem& problem) {
  if (!cpu::transforms_weights(problem)) return "weights transformed already, or a convolution that is not worth it";
  if (problem.inputs[cpu::kConvX].dtype != tensor::DType::f32) return "x that is not f32";
  cpu::set_channels_last(problem);
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  static_cast<cpu::WinogradTiles&>(*p) = cpu::winograd_tiles(problem);
  const int64_t fits = std::max(kRows, kInputFloats / (kPlanes * p->channels) / kRows * kRows);
  p->block = std::min(fits, (p->tiles + kRows - 1) / kRows * kRows);
  p->panels = (p->features + kPanel - 1) / kPanel;
  // Groups of equal size, a multiple of the members of them where that is possible.
  const int64_t most = std::clamp<int64_t>(kWeightFloats / (kPlanes * p->channels * kPanel), 1, kMostPanels);
  const int64_t each = (p->panels + problem.threads - 1) / problem.threads;  // panels of a member
  const int64_t rounds = (each + most - 1) / most;
  p->group_panels = (each + rounds - 1) / rounds;
  p->groups = (p->panels + p->group_panels - 1) / p->group_panels;
  const std::string_view layout = problem.inputs[cpu::kConvWeights].layout;
  p->widened = layout != cpu::kConvPanel;
  p->form = layout == cpu::kConvF16 ? cpu::HalfForm::f16 : cpu::HalfForm::bf16_wide;
  p->weights = cpu::half_panels(p->features, kTaps, p->channels, p->form);
  p->epilogue = cpu::conv_epilogue(problem);
  return p;
}

int64_t zero_floats(const Prepared& p) {
  return (p.channels + 31) / 16 * 16;
}
int64_t v_floats(const Prepared& p) {
  return (kPlanes * p.block * p.channels + 15) / 16 * 16;
}
int64_t u_floats(const Prepared& p) {
  return kPlanes * p.group_panels * kPanel * p.channels;
}
int64_t m_floats(const Prepared& p) {
  return kPlanes * p.block * p.group_panels * kPanel;
}
int64_t widened_floats(const Prepared& p) {
  return p.widened ? kTaps * p.channels * kPanel : 0;
}
int64_t member_floats(const Prepared& p) {
  return u_floats(p) + m_floats(p) + kOut * kOut * p.group_panels * kPanel + cpu::kTileFloats + widened_floats(p);
}

size_t scratch_size(const Problem& problem) {
  const auto prepared = prepare(problem);
  const auto& p = *static_cast<const Prepared*>(prepared.get());
  return size_t(zero_floats(p) + v_floats(p) + member_floats(p) * problem.threads) * sizeof(float);
}

struct Memory {
  float* zeros;  // shared: a row of padding
  float* v;      // shared: [36][block][channels]
  float* u;      // [36][group_panels][channels][16]
  float* m;      // [36][block][group_panels * 16]
  float* out;    // [16][group_panels * 16]
  float* sums;
  float* panel;  // [9][channels][16]: widened weights
};

Memory memory_of(const GraphCall& call, const Prepared& p, int member) noexcept {
  Memory memory{};
  memory.zeros = reinterpret_cast<float*>(call.scratch);
  memory.v = memory.zeros + zero_floats(p);
  memory.u = memory.v + v_floats(p) + member_floats(p) * member;
  memory.m = memory.u + u_floats(p);
  memory.out = memory.m + m_floats(p);
  memory.sums = memory.out + kOut * kOut * p.group_panels * kPanel;
  memory.panel = memory.sums + cpu::kTileFloats;
  return memory;
}

// Panel `number` of the weights in f32, [9][channels][16].
const float* panel_of(const GraphCall& call, const Prepared& p, const Memory& memory, int64_t number) noexcept {
  if (!p.widened) return call.input(cpu::kConvWeights) + number * kTaps * p.channels * kPanel;
  const cpu::HalfTier& tier = cpu::half_tier(*call.problem);
  const auto widen = p.form == cpu::HalfForm::f16 ? tier.widen_f16 : tier.widen_bf16;
  const uint16_t* panel = call.input<uint16_t>(cpu::kConvWeights) + number * p.weights.panel_numbers();
  for (int64_t t = 0; t < kTaps; ++t) {
    widen(panel + t * (p.weights.panel_numbers() / kTaps), p.channels, memory.panel + t * p.channels * kPanel);
  }
  return memory.panel;
}

// The features of group `number` for tiles [begin, begin + count).
void multiply_group(const GraphCall& call, const Prepared& p, const Memory& memory, int64_t number, int64_t begin,
                    int64_t count) noexcept {
  const cpu::WinogradTier& tier = cpu::winograd_tier(*call.problem);
  const int64_t first = number * p.group_panels;
  const int64_t panels = std::min(p.group_panels, p.panels - first);
  const int64_t width = panels * kPanel, panel_floats = p.channels * kPanel;
  for (int64_t i = 0; i < panels; ++i) {
    tier.panel_weights(panel_of(call, p, memory, first + i), p.channels, memory.u + i * panel_floats,
                       panels * panel_floats);
  }
  for (int64_t plane = 0; plane < kPlanes; ++plane) {
    cpu::multiply_panels(cpu::conv_tier(*call.problem), {.a = memory.v + plane * p.block * p.channels,
                                                         .a_stride = p.channels,
                                                         .rows = count,
                                                         .k = p.channels,
                                                         .n = width,
                                                         .panels = memory.u + plane * panels * panel_floats,
                                                         .first = 0,
                                                         .end = panels,
                                                         .y = memory.m + plane * p.block * width,
                                                         .y_stride = width,
                                                         .sums = memory.sums});
  }
  const int64_t feature = first * kPanel, features = std::min(width, p.features - feature);
  for (int64_t t = 0; t < count; ++t) {
    cpu::finish_winograd_tile(call, p, p.epilogue,
                              {.tile = begin + t,
                               .m = memory.m + t * width,
                               .m_stride = p.block * width,
                               .width = width,
                               .out = memory.out,
                               .feature = feature,
                               .features = features});
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const cpu::WinogradTier& tier = cpu::winograd_tier(*call.problem);
  const Memory memory = memory_of(call, p, member.index());
  if (member.index() == 0) std::memset(memory.zeros, 0, size_t(zero_floats(p)) * sizeof(float));
  member.barrier();
  const float* rows[kPlanes];
  for (int64_t at = 0; at < p.tiles; at += p.block) {
    const int64_t count = std::min(p.block, p.tiles - at);
    const auto [begin, end] = member.share(count);
    for (int64_t t = begin; t < end; ++t) {
      p.rows_of(at + t, call.input(cpu::kConvX), memory.zeros, rows);
      tier.input(rows, p.channels, memory.v + t * p.channels, p.block * p.channels);
    }
    member.barrier();
    const auto [first, last] = member.share(p.groups);
    for (int64_t group = first; group < last; ++group) multiply_group(call, p, memory, group, at, count);
    member.barrier();
  }
}

}  // namespace

const GraphKernel& winograd_late_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.winograd_late",
                                     .ops = {"lathe.Conv"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
