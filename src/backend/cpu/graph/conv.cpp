// lathe.Conv over channels-last values: rows of a tile are output positions, the columns of a tap its input channels.
// Depthwise convolutions go position by position over all channels.
#include <algorithm>
#include <cstring>

#include "backend/cpu/conv_epilogue.h"
#include "backend/cpu/conv_windows.h"
#include "backend/cpu/graph_layouts.h"
#include "backend/cpu/tiers.h"
#include "backend/cpu/winograd_tiles.h"

namespace lathe::backend {
namespace {

constexpr size_t kX = cpu::kConvX, kWeights = cpu::kConvWeights, kResidual = cpu::kConvResidual;
constexpr int64_t kPanel = 16;

using cpu::kMaxTaps;
using Position = cpu::WindowPosition;

struct Prepared : cpu::ConvWindows {
  int64_t group_panels;  // floats of a group's weights
  bool depthwise = false;
  bool gather = false;
  cpu::Epilogue epilogue;
  const cpu::ConvTier* tier;
};

std::optional<std::string> fit(Problem& problem) {
  const ProblemValue& w = problem.inputs[kWeights];
  if (w.layout != cpu::kConvPanel && w.layout != cpu::kConvDepthwise) return "weights that are not packed";
  if (problem.inputs[kX].dtype != tensor::DType::f32) return "x that is not f32";
  if (tensor::element_count(std::span(w.dims).subspan(2)) > kMaxTaps) return "a kernel of more than 1,024 elements";
  if (cpu::transforms_weights(problem)) return "3 x 3 that is worth Winograd's transforms";
  problem.inputs[kX].order = Order::channels_last;
  if (problem.has_input(kResidual)) problem.inputs[kResidual].order = Order::channels_last;
  problem.outputs[0].order = Order::channels_last;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto prepared = std::make_shared<Prepared>();
  const ProblemValue& w = problem.inputs[kWeights];
  static_cast<cpu::ConvWindows&>(*prepared) = cpu::conv_windows(problem, problem.inputs[kX], w);
  prepared->depthwise = w.layout == cpu::kConvDepthwise;
  prepared->group_panels = cpu::conv_panel_group(prepared->features, prepared->columns());
  prepared->gather = prepared->channels < cpu::kGatherChannels && prepared->taps > 1;
  prepared->tier = &cpu::conv_tier(problem);
  prepared->epilogue = cpu::conv_epilogue(problem);
  return prepared;
}

// A member's own memory: zeros (a row of padding), sums of a tile, gathered rows.
struct MemberMemory {
  float* zeros;
  float* sums;
  float* gathered;
};
constexpr int64_t kSums = cpu::kMaxTileRows * cpu::kMaxTilePanels * kPanel;

int64_t zero_floats(const Problem& problem) {
  return (problem.inputs[kX].dims[1] + 31) / 16 * 16;
}
int64_t gathered_floats(const Problem& problem) {
  const ProblemValue& w = problem.inputs[kWeights];
  const int64_t columns = w.dims[0] == 0 ? 0 : w.size() / w.dims[0];
  return (columns * cpu::kMaxTileRows + 15) / 16 * 16 + 16;  // and what the last chunk writes in vain
}
int64_t member_floats(const Problem& problem) {
  return zero_floats(problem) + kSums + gathered_floats(problem);
}

size_t scratch_size(const Problem& problem) {
  return size_t(member_floats(problem) * problem.threads) * sizeof(float);
}

// Output positions [begin, end) and runs of panels [run_begin, run_end) of a group.
void run_block(const GraphCall& call, const Prepared& p, const MemberMemory& memory, int64_t group, int64_t begin,
               int64_t end, int64_t run_begin, int64_t run_end, int64_t runs) noexcept {
  const float* rows[kMaxTaps * cpu::kMaxTileRows];
  Position positions[cpu::kMaxTileRows];
  const int64_t panels = (p.features + kPanel - 1) / kPanel;
  const int64_t panel_stride = p.columns() * kPanel;
  const float* x = call.input(kX) + group * p.channels;
  const float* end_of_x = call.input(kX) + call.problem->inputs[kX].size();
  const float* weights = call.input(kWeights) + group * p.group_panels;
  for (int64_t run = run_begin; run < run_end; ++run) {
    const cpu::PanelRun part = cpu::panel_run(panels, run, runs);
    const int64_t tile_rows = p.tier->tile_rows[part.count];
    Position last{};
    for (int64_t row = begin; row < end; row += tile_rows) {
      const int64_t count = std::min(tile_rows, end - row);
      if (!p.matrix) {
        positions[0] = row == begin ? cpu::position_of(p, row) : cpu::next_position(p, last);
        for (int64_t r = 1; r < count; ++r) positions[r] = cpu::next_position(p, positions[r - 1]);
        last = positions[count - 1];
      }
      if (p.matrix) {
        for (int64_t r = 0; r < count; ++r) rows[r] = x + (row + r) * p.all_channels();
      } else if (p.gather) {
        cpu::gather_rows(p, positions, count, x, end_of_x, 0.0f, p.columns(), memory.gathered, rows);
      } else {
        cpu::find_rows(p, positions, count, x, memory.zeros, rows);
      }
      p.tier->tile({.rows = rows,
                    .row_count = count,
                    .taps = p.gather ? 1 : p.taps,
                    .columns = p.gather ? p.columns() : p.channels,
                    .panels = weights + part.first * panel_stride,
                    .panel_stride = panel_stride,
                    .panel_count = part.count,
                    .sums = memory.sums,
                    .sum_stride = part.count * kPanel});
      const int64_t feature = part.first * kPanel;
      const int64_t features = std::min(part.count * kPanel, p.features - feature);
      cpu::finish_rows(*p.tier, p.epilogue,
                       cpu::conv_rows(call, memory.sums, part.count * kPanel, row, count, group * p.features + feature,
                                      features, p.all_features()));
    }
  }
}

void run_depthwise(const GraphCall& call, const Prepared& p, const MemberMemory& memory, int64_t begin,
                   int64_t end) noexcept {
  const float* rows[kMaxTaps];
  const int64_t channels = p.all_channels();
  const float* residual = call.input(kResidual);
  Position position = cpu::position_of(p, begin);
  bool was_inside = false;
  for (int64_t row = begin; row < end; ++row) {
    if (row > begin) position = cpu::next_position(p, position);
    const bool inside_now = cpu::is_inside(p, position);
    if (inside_now && was_inside && position.index[2] > 0) {  // the neighbour sees the same, one step further
      for (int64_t t = 0; t < p.taps; ++t) rows[t] += p.strides[2] * channels;
    } else {
      cpu::find_rows(p, &position, 1, call.input(kX), memory.zeros, rows);
    }
    was_inside = inside_now;
    float* y = call.output() + row * channels;
    const cpu::Epilogue& epilogue = p.epilogue;
    const bool inside = residual && !epilogue.residual_last;
    p.tier->depthwise({.rows = rows,
                       .weights = call.input(kWeights),
                       .weight_stride = (channels + 15) / 16 * 16,
                       .taps = p.taps,
                       .count = channels,
                       .bias = call.input(cpu::kConvBias),
                       .residual = inside ? residual + row * channels : nullptr,
                       .y = y,
                       .low = epilogue.low,
                       .high = epilogue.high});
    if (epilogue.has_activation) cpu::activate(epilogue, y, channels);
    if (residual && epilogue.residual_last) {
      for (int64_t c = 0; c < channels; ++c) y[c] += residual[row * channels + c];
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  float* own = reinterpret_cast<float*>(call.scratch) + member_floats(*call.problem) * member.index();
  const MemberMemory memory{own, own + zero_floats(*call.problem), own + zero_floats(*call.problem) + kSums};
  std::memset(memory.zeros, 0, size_t(zero_floats(*call.problem)) * sizeof(float));
  if (p.depthwise) {
    const auto [begin, end] = member.share(p.positions);
    return run_depthwise(call, p, memory, begin, end);
  }
  const int64_t panels = (p.features + kPanel - 1) / kPanel;
  const int64_t runs = (panels + p.tier->max_panels - 1) / p.tier->max_panels;
  // By positions where there are enough of them for every member, else by features.
  const bool by_positions = p.positions >= member.size() * 4 * cpu::kMaxTileRows || runs < member.size();
  const auto [begin, end] = by_positions ? member.share(p.positions, 24) : TeamMember::Range{0, p.positions};
  const auto [run_begin, run_end] = by_positions ? TeamMember::Range{0, runs} : member.share(runs);
  // Blocks of positions whose inputs stay in the second cache while all features are made of them.
  const int64_t row_bytes = std::max<int64_t>(p.columns() * 4 / std::max<int64_t>(1, p.kernel[1]), 1);
  const int64_t block = std::max<int64_t>(24, (int64_t{256} << 10) / row_bytes / 24 * 24);
  for (int64_t group = 0; group < p.group; ++group) {
    for (int64_t at = begin; at < end; at += block) {
      run_block(call, p, memory, group, at, std::min(at + block, end), run_begin, run_end, runs);
    }
  }
}

}  // namespace

const GraphKernel& conv_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.conv",
                                     .ops = {"lathe.Conv"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
