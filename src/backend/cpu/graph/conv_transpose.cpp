// ConvTranspose of f32 with known weights, as one convolution for each phase of the result.
//
// Along an axis with stride s, the results o with the same (o + pad) mod s are made of the same taps of the kernel, and
// neighbours among them of neighbouring elements of x. So a phase is an ordinary convolution with some of the taps:
// tiles of its results times panels, as in cpu.conv. x and y lie channels-last.
#include <algorithm>
#include <limits>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/products.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

constexpr size_t kMaxAxes = 3;
constexpr int64_t kPanel = 16;
constexpr int64_t kMaxTaps = 1024;  // of a phase
constexpr int64_t kChunk = 96;      // results of a phase that one member computes at a time

// One phase of one axis.
struct AxisPhase {
  int64_t first = 0, count = 0;  // results first, first + stride, ...
  std::vector<int64_t> taps;     // of the kernel
  std::vector<int64_t> origins;  // result j reads element origins[t] + j of x
};

struct Prepared {
  size_t axes = 0;
  int64_t batch, channels, features, group;  // channels and features of a group
  int64_t lengths[kMaxAxes], counts[kMaxAxes], strides[kMaxAxes], kernel[kMaxAxes];  // of y, of x
  std::vector<AxisPhase> phases[kMaxAxes];
  std::vector<int64_t> panel_at;  // of a phase, by number (the last axis innermost): floats into `packed`
  std::vector<float> packed;      // [phase][group][features / 16][taps * channels][16]
  int64_t panels;                 // of a group
};

std::vector<int64_t> ints(const Problem& problem, std::string_view name, size_t count, int64_t otherwise) {
  return problem.attributes().find_ints(name).value_or(std::vector<int64_t>(count, otherwise));
}

std::optional<std::string> fit(Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  const size_t axes = x.dims.size() - 2;
  if (!is_f32(x)) return "x that is not f32";
  if (axes < 1 || axes > kMaxAxes) return "more than three spatial axes";
  if (!problem.inputs[1].known) return "weights that are not known";
  if (problem.attributes().has("output_shape")) return "an output_shape";
  const std::string pad = problem.attributes().get_string("auto_pad", "NOTSET");
  if (pad != "NOTSET" && pad != "VALID") return "pads that follow from lengths";
  if (x.size() == 0 || problem.outputs[0].size() == 0) return "nothing to compute";
  if (tensor::element_count(std::span(problem.inputs[1].dims).subspan(2)) > kMaxTaps) return "a large kernel";
  problem.inputs[0].order = Order::channels_last;
  problem.outputs[0].order = Order::channels_last;
  return std::nullopt;
}

std::vector<AxisPhase> phases_of(const Prepared& p, size_t axis, int64_t begin, int64_t dilation) {
  const int64_t stride = p.strides[axis];
  std::vector<AxisPhase> phases;
  for (int64_t first = 0; first < std::min(stride, p.lengths[axis]); ++first) {
    AxisPhase phase;
    phase.first = first;
    phase.count = (p.lengths[axis] - first + stride - 1) / stride;
    for (int64_t k = 0; k < p.kernel[axis]; ++k) {
      const int64_t distance = first + begin - k * dilation;
      if (distance % stride != 0) continue;
      phase.taps.push_back(k);
      phase.origins.push_back(distance / stride);
    }
    phases.push_back(std::move(phase));
  }
  return phases;
}

// The phase of each axis that phase `number` of the whole is.
void split_phase(const Prepared& p, int64_t number, const AxisPhase** phases) noexcept {
  for (size_t i = p.axes; i-- > 0;) {
    phases[i] = &p.phases[i][size_t(number) % p.phases[i].size()];
    number /= int64_t(p.phases[i].size());
  }
}

int64_t taps_of(const Prepared& p, const AxisPhase* const* phases) noexcept {
  int64_t taps = 1;
  for (size_t i = 0; i < p.axes; ++i) taps *= int64_t(phases[i]->taps.size());
  return taps;
}

// Tap `t` of the phase: its place in the kernel.
int64_t kernel_place(const Prepared& p, const AxisPhase* const* phases, int64_t t) {
  int64_t place = 0, step = 1;
  for (size_t i = p.axes; i-- > 0;) {
    const auto& taps = phases[i]->taps;
    place += taps[size_t(t) % taps.size()] * step;
    t /= int64_t(taps.size());
    step *= p.kernel[i];
  }
  return place;
}

// w: [group * channels][features][kernel...]
void pack_weights(Prepared& p, const float* w) {
  int64_t kernel = 1, phase_count = 1;
  for (size_t i = 0; i < p.axes; ++i) {
    kernel *= p.kernel[i];
    phase_count *= int64_t(p.phases[i].size());
  }
  for (int64_t number = 0; number < phase_count; ++number) {
    const AxisPhase* phases[kMaxAxes];
    split_phase(p, number, phases);
    const int64_t taps = taps_of(p, phases);
    p.panel_at.push_back(int64_t(p.packed.size()));
    p.packed.resize(p.packed.size() + size_t(p.group * p.panels * taps * p.channels * kPanel));
    for (int64_t g = 0; g < p.group; ++g) {
      for (int64_t m = 0; m < p.features; ++m) {
        float* panel = p.packed.data() + p.panel_at.back() +
                       (g * p.panels + m / kPanel) * taps * p.channels * kPanel + m % kPanel;
        for (int64_t t = 0; t < taps; ++t) {
          const int64_t place = kernel_place(p, phases, t);
          for (int64_t c = 0; c < p.channels; ++c) {
            panel[(t * p.channels + c) * kPanel] = w[((g * p.channels + c) * p.features + m) * kernel + place];
          }
        }
      }
    }
  }
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const tensor::Dims& x = problem.inputs[0].dims;
  const tensor::Dims& w = problem.inputs[1].dims;
  p->axes = x.size() - 2;
  p->group = problem.attributes().get_int("group", 1);
  p->batch = x[0];
  p->channels = x[1] / p->group;
  p->features = w[1];
  p->panels = (p->features + kPanel - 1) / kPanel;
  const auto strides = ints(problem, "strides", p->axes, 1);
  const auto dilations = ints(problem, "dilations", p->axes, 1);
  const auto pads = ints(problem, "pads", 2 * p->axes, 0);
  const bool valid = problem.attributes().get_string("auto_pad", "NOTSET") == "VALID";
  for (size_t i = 0; i < p->axes; ++i) {
    p->counts[i] = x[i + 2];
    p->lengths[i] = problem.outputs[0].dims[i + 2];
    p->kernel[i] = w[i + 2];
    p->strides[i] = strides[i];
    p->phases[i] = phases_of(*p, i, valid ? 0 : pads[i], dilations[i]);
  }
  pack_weights(*p, problem.inputs[1].known->data<float>().data());
  return p;
}

// Of each member: pointers to rows, a row of zeros, the sums of a tile.
struct Space {
  const float** rows;
  float* zeros;
  float* sums;
};
size_t member_bytes(const Problem& problem) {
  const int64_t taps = tensor::element_count(std::span(problem.inputs[1].dims).subspan(2));
  const int64_t pointers = taps * cpu::kMaxTileRows * int64_t(sizeof(float*));
  return size_t(pointers + problem.inputs[0].dims[1] * 4 + cpu::kTileFloats * 4 + 63) / 64 * 64;
}
size_t scratch_size(const Problem& problem) {
  return member_bytes(problem) * size_t(problem.threads);
}
Space space_of(const GraphCall& call, int member) noexcept {
  const Problem& problem = *call.problem;
  std::byte* begin = call.scratch + member_bytes(problem) * size_t(member);
  const int64_t taps = tensor::element_count(std::span(problem.inputs[1].dims).subspan(2));
  auto* floats = reinterpret_cast<float*>(begin + size_t(taps * cpu::kMaxTileRows) * sizeof(float*));
  return {reinterpret_cast<const float**>(begin), floats + cpu::kTileFloats, floats};
}

// Some results of one phase: `count` of them along the last axis from the phase's result `first` on, at the other axes'
// positions `at` (of y).
struct Piece {
  int64_t n, number, first, count;
  int64_t at[kMaxAxes];
};

// Rows of x (of group 0) that results [j, j + count) read, tap by tap; zeros outside of x.
void find_rows(const GraphCall& call, const Prepared& p, const AxisPhase* const* phases, const Piece& piece, int64_t j,
               int64_t count, const Space& space) noexcept {
  const int64_t taps = taps_of(p, phases);
  const int64_t row = p.channels * p.group;
  const size_t last = p.axes - 1;
  for (int64_t t = 0; t < taps; ++t) {
    const auto& origins = phases[last]->origins;
    const int64_t origin = origins[size_t(t) % origins.size()] + j;
    int64_t rest = t / int64_t(origins.size()), offset = 0, step = p.counts[last];
    bool inside = true;
    for (size_t i = last; i-- > 0;) {
      const auto& own = phases[i]->origins;
      const int64_t index = own[size_t(rest) % own.size()] + (piece.at[i] - phases[i]->first) / p.strides[i];
      rest /= int64_t(own.size());
      inside &= index >= 0 && index < p.counts[i];
      offset += index * step;
      step *= p.counts[i];
    }
    const float* base = call.input(0) + (piece.n * step + offset) * row;
    for (int64_t r = 0; r < count; ++r) {
      const bool there = inside && origin + r >= 0 && origin + r < p.counts[last];
      space.rows[t * count + r] = there ? base + (origin + r) * row : nullptr;
    }
  }
}

void run_tile(const GraphCall& call, const Prepared& p, const AxisPhase* const* phases, const Piece& piece, int64_t j,
              int64_t count, int64_t g, int64_t first_panel, int64_t panels, float* y, const Space& space) noexcept {
  const cpu::ConvTier& tier = cpu::conv_tier(*call.problem);
  const int64_t taps = taps_of(p, phases);
  const int64_t stride = taps * p.channels * kPanel;
  find_rows(call, p, phases, piece, j, count, space);
  for (int64_t i = 0; i < taps * count; ++i) {
    space.rows[i] = space.rows[i] ? space.rows[i] + g * p.channels : space.zeros;
  }
  if (taps == 0) std::fill(space.sums, space.sums + count * panels * kPanel, 0.0f);
  if (taps > 0) {
    tier.tile({.rows = space.rows,
               .row_count = count,
               .taps = taps,
               .columns = p.channels,
               .panels = p.packed.data() + p.panel_at[size_t(piece.number)] + (g * p.panels + first_panel) * stride,
               .panel_stride = stride,
               .panel_count = panels,
               .sums = space.sums,
               .sum_stride = panels * kPanel});
  }
  const int64_t feature = g * p.features + first_panel * kPanel;
  const float* bias = call.input(2);
  tier.finish({.sums = space.sums,
               .row_count = count,
               .sum_stride = panels * kPanel,
               .features = std::min(panels * kPanel, p.features - first_panel * kPanel),
               .bias = bias ? bias + feature : nullptr,
               .residual = nullptr,
               .y = y + feature,
               .stride = p.features * p.group * p.strides[p.axes - 1],
               .low = -std::numeric_limits<float>::infinity(),
               .high = std::numeric_limits<float>::infinity()});
}

void run_piece(const GraphCall& call, const Prepared& p, const Piece& piece, const Space& space) noexcept {
  const cpu::ConvTier& tier = cpu::conv_tier(*call.problem);
  const AxisPhase* phases[kMaxAxes];
  split_phase(p, piece.number, phases);
  const size_t last = p.axes - 1;
  int64_t position = piece.n;
  for (size_t i = 0; i < last; ++i) position = position * p.lengths[i] + piece.at[i];
  float* line = call.output() + position * p.lengths[last] * p.features * p.group;
  const int64_t runs = (p.panels + tier.max_panels - 1) / tier.max_panels;
  for (int64_t g = 0; g < p.group; ++g) {
    for (int64_t run = 0; run < runs; ++run) {
      const int64_t first = p.panels * run / runs;
      const int64_t panels = p.panels * (run + 1) / runs - first;
      const int64_t tile_rows = tier.tile_rows[panels];
      for (int64_t j = piece.first; j < piece.first + piece.count; j += tile_rows) {
        const int64_t count = std::min(tile_rows, piece.first + piece.count - j);
        const int64_t at = phases[last]->first + j * p.strides[last];
        run_tile(call, p, phases, piece, j, count, g, first, panels, line + at * p.features * p.group, space);
      }
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const Space space = space_of(call, member.index());
  std::fill(space.zeros, space.zeros + p.channels, 0.0f);
  const size_t last = p.axes - 1;
  int64_t lines = p.batch;
  for (size_t i = 0; i < last; ++i) lines *= p.lengths[i];
  const int64_t longest = p.phases[last][0].count;
  const int64_t chunks = (longest + kChunk - 1) / kChunk;
  const auto [begin, end] = member.share(lines * chunks);
  for (int64_t item = begin; item < end; ++item) {
    Piece piece{};
    int64_t rest = item / chunks;
    int64_t outer = 0, step = 1;  // the phase of the outer axes
    for (size_t i = last; i-- > 0;) {
      piece.at[i] = rest % p.lengths[i];
      rest /= p.lengths[i];
      outer += piece.at[i] % p.strides[i] * step;
      step *= int64_t(p.phases[i].size());
    }
    piece.n = rest;
    for (size_t phase = 0; phase < p.phases[last].size(); ++phase) {
      piece.number = outer * int64_t(p.phases[last].size()) + int64_t(phase);
      piece.first = item % chunks * kChunk;
      piece.count = std::min(kChunk, p.phases[last][phase].count - piece.first);
      if (piece.count > 0) run_piece(call, p, piece, space);
    }
  }
}

}  // namespace

const GraphKernel& conv_transpose_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.conv_transpose",
                                     .ops = {"ConvTranspose"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
