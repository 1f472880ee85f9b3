// lathe.Conv over channels-last values: rows of a tile are output positions, the columns of a tap its input channels.
// Depthwise convolutions go position by position over all channels.
#include <algorithm>
#include <cstring>

#include "backend/cpu/conv_epilogue.h"
#include "backend/cpu/graph_layouts.h"
#include "backend/cpu/tiers.h"
#include "op/sliding_windows.h"

namespace lathe::backend {
namespace {

constexpr size_t kX = cpu::kConvX, kWeights = cpu::kConvWeights, kResidual = cpu::kConvResidual;
constexpr int kAxes = 3;  // spatial axes; fewer are filled up with ones in front
constexpr int64_t kGatherChannels = 16;  // fewer than that are gathered to one long row
constexpr int64_t kMaxTaps = 1024;
constexpr int64_t kPanel = 16;

struct Prepared {
  int64_t batch, group;
  int64_t channels, features;  // of one group
  int64_t lengths[kAxes], counts[kAxes], kernel[kAxes], strides[kAxes], dilations[kAxes], begins[kAxes];
  int64_t positions;  // of the output, all images
  int64_t taps;
  int64_t group_panels;  // floats of a group's weights
  bool depthwise = false;
  bool gather = false;
  bool matrix = false;  // one tap that sees each position in turn
  cpu::Epilogue epilogue;
  const cpu::ConvTier* tier;

  int64_t all_channels() const { return channels * group; }
  int64_t all_features() const { return features * group; }
  int64_t columns() const { return taps * channels; }
};

std::optional<std::string> fit(Problem& problem) {
  const ProblemValue& w = problem.inputs[kWeights];
  if (w.layout != cpu::kConvPanel && w.layout != cpu::kConvDepthwise) return "weights that are not packed";
  if (problem.inputs[kX].dtype != tensor::DType::f32) return "x that is not f32";
  if (tensor::element_count(std::span(w.dims).subspan(2)) > kMaxTaps) return "a kernel of more than 1,024 elements";
  problem.inputs[kX].order = Order::channels_last;
  if (problem.has_input(kResidual)) problem.inputs[kResidual].order = Order::channels_last;
  problem.outputs[0].order = Order::channels_last;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto prepared = std::make_shared<Prepared>();
  const ProblemValue& x = problem.inputs[kX];
  const ProblemValue& w = problem.inputs[kWeights];
  const tensor::Shape kernel = tensor::to_shape(std::span(w.dims).subspan(2));
  const op::Windows windows = op::plan_windows("Conv", problem.attributes(), x.dims, &kernel);
  const size_t rank = windows.lengths.size();
  for (size_t i = 0; i < kAxes; ++i) {
    const bool there = i + rank >= kAxes;
    const size_t axis = there ? i + rank - kAxes : 0;
    prepared->lengths[i] = there ? windows.lengths[axis] : 1;
    prepared->counts[i] = there ? windows.counts[axis] : 1;
    prepared->kernel[i] = there ? windows.kernel[axis] : 1;
    prepared->strides[i] = there ? windows.strides[axis] : 1;
    prepared->dilations[i] = there ? windows.dilations[axis] : 1;
    prepared->begins[i] = there ? windows.begins[axis] : 0;
  }
  prepared->batch = x.dims[0];
  prepared->group = problem.attributes().get_int("group", 1);
  prepared->channels = w.dims[1];
  prepared->features = w.dims[0] / prepared->group;
  prepared->positions = prepared->batch * windows.count();
  prepared->taps = windows.kernel_size();
  prepared->depthwise = w.layout == cpu::kConvDepthwise;
  prepared->group_panels = cpu::conv_panel_group(prepared->features, prepared->columns());
  prepared->gather = prepared->channels < kGatherChannels && prepared->taps > 1;
  prepared->matrix = prepared->taps == 1 && windows.counts == windows.lengths &&
                     std::all_of(windows.begins.begin(), windows.begins.end(), [](int64_t pad) { return pad == 0; });
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

// An output position: its image and where its window begins in the input.
struct Position {
  int64_t image;
  int64_t index[kAxes];  // in the output
  int64_t start[kAxes];
};

Position position_of(const Prepared& p, int64_t number) noexcept {
  Position position;
  for (int i = kAxes; i-- > 0;) {
    position.index[i] = number % p.counts[i];
    position.start[i] = position.index[i] * p.strides[i] - p.begins[i];
    number /= p.counts[i];
  }
  position.image = number;
  return position;
}

// The one after it, without a division.
Position next_position(const Prepared& p, const Position& at) noexcept {
  Position position = at;
  for (int i = kAxes; i-- > 0;) {
    position.start[i] += p.strides[i];
    if (++position.index[i] < p.counts[i]) return position;
    position.index[i] = 0;
    position.start[i] = -p.begins[i];
  }
  ++position.image;
  return position;
}

// Where the window sees for tap (z, y, x), or nullptr in the padding.
const float* tap_address(const Prepared& p, const Position& at, const float* x, const int64_t (&tap)[kAxes]) noexcept {
  int64_t offset = at.image;
  for (int i = 0; i < kAxes; ++i) {
    const int64_t index = at.start[i] + tap[i] * p.dilations[i];
    if (uint64_t(index) >= uint64_t(p.lengths[i])) return nullptr;
    offset = offset * p.lengths[i] + index;
  }
  return x + offset * p.all_channels();
}

template <class Body>
void for_each_tap(const Prepared& p, Body&& body) noexcept {
  int64_t tap[kAxes];
  int64_t number = 0;
  for (tap[0] = 0; tap[0] < p.kernel[0]; ++tap[0]) {
    for (tap[1] = 0; tap[1] < p.kernel[1]; ++tap[1]) {
      for (tap[2] = 0; tap[2] < p.kernel[2]; ++tap[2]) body(tap, number++);
    }
  }
}

// rows[tap][r] of the tile for the channels of a group.
void find_rows(const Prepared& p, const Position* positions, int64_t count, const float* x, const float* zeros,
               const float** rows) noexcept {
  for_each_tap(p, [&](const int64_t (&tap)[kAxes], int64_t number) {
    for (int64_t r = 0; r < count; ++r) {
      const float* address = tap_address(p, positions[r], x, tap);
      rows[number * count + r] = address ? address : zeros;
    }
  });
}

constexpr int64_t kChunk = 16;  // floats that are copied at once, the last ones in vain

// One line of the kernel (its innermost axis) as the window sees it, zeros in the padding. `end`: of all of x. Writes up
// to a chunk behind what it fills.
void gather_line(const Prepared& p, const float* line, const float* end, int64_t start, float* out) noexcept {
  const int64_t taps = p.kernel[2], step = p.dilations[2], channels = p.channels, pitch = p.all_channels();
  const bool inside = start >= 0 && start + (taps - 1) * step < p.lengths[2];
  if (inside && step == 1 && channels == pitch) {
    const float* from = line + start * channels;
    const int64_t count = taps * channels;
    if (from + count + kChunk <= end) {
      for (int64_t i = 0; i < count; i += kChunk) std::memcpy(out + i, from + i, kChunk * sizeof(float));
    } else {
      std::copy(from, from + count, out);
    }
    return;
  }
  for (int64_t t = 0; t < taps; ++t) {
    const int64_t at = start + t * step;
    const bool there = at >= 0 && at < p.lengths[2];
    for (int64_t c = 0; c < channels; ++c) *out++ = there ? line[at * pitch + c] : 0.0f;
  }
}

// The same with the taps of each row one after another in `gathered`: one tap of many columns.
void gather_rows(const Prepared& p, const Position* positions, int64_t count, const float* x, float* gathered,
                 const float** rows) noexcept {
  const int64_t line = p.kernel[2] * p.channels;
  const float* end = x + p.batch * p.lengths[0] * p.lengths[1] * p.lengths[2] * p.all_channels();
  for (int64_t r = 0; r < count; ++r) {
    const Position& position = positions[r];
    float* out = gathered + r * p.columns();
    rows[r] = out;
    for (int64_t z = 0; z < p.kernel[0]; ++z) {
      const int64_t iz = position.start[0] + z * p.dilations[0];
      for (int64_t y = 0; y < p.kernel[1]; ++y, out += line) {
        const int64_t iy = position.start[1] + y * p.dilations[1];
        if (iz < 0 || iz >= p.lengths[0] || iy < 0 || iy >= p.lengths[1]) {
          std::fill(out, out + line, 0.0f);
          continue;
        }
        const int64_t first = ((position.image * p.lengths[0] + iz) * p.lengths[1] + iy) * p.lengths[2];
        gather_line(p, x + first * p.all_channels(), end, position.start[2], out);
      }
    }
  }
}

struct Panels {
  int64_t first, count;
};
// Panels in runs of nearly equal length, at most the tier's.
Panels panel_run(int64_t panels, int64_t run, int64_t runs) noexcept {
  const int64_t first = panels * run / runs;
  return {first, panels * (run + 1) / runs - first};
}

// Output positions [begin, end) and runs of panels [run_begin, run_end) of a group.
void run_block(const GraphCall& call, const Prepared& p, const MemberMemory& memory, int64_t group, int64_t begin,
               int64_t end, int64_t run_begin, int64_t run_end, int64_t runs) noexcept {
  const float* rows[kMaxTaps * cpu::kMaxTileRows];
  Position positions[cpu::kMaxTileRows];
  const int64_t panels = (p.features + kPanel - 1) / kPanel;
  const int64_t panel_stride = p.columns() * kPanel;
  const float* x = call.input(kX) + group * p.channels;
  const float* weights = call.input(kWeights) + group * p.group_panels;
  for (int64_t run = run_begin; run < run_end; ++run) {
    const Panels part = panel_run(panels, run, runs);
    const int64_t tile_rows = p.tier->tile_rows[part.count];
    Position last{};
    for (int64_t row = begin; row < end; row += tile_rows) {
      const int64_t count = std::min(tile_rows, end - row);
      if (!p.matrix) {
        positions[0] = row == begin ? position_of(p, row) : next_position(p, last);
        for (int64_t r = 1; r < count; ++r) positions[r] = next_position(p, positions[r - 1]);
        last = positions[count - 1];
      }
      if (p.matrix) {
        for (int64_t r = 0; r < count; ++r) rows[r] = x + (row + r) * p.all_channels();
      } else if (p.gather) {
        gather_rows(p, positions, count, x, memory.gathered, rows);
      } else {
        find_rows(p, positions, count, x, memory.zeros, rows);
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

// Whether the window sees no padding.
bool is_inside(const Prepared& p, const Position& at) noexcept {
  for (int i = 0; i < kAxes; ++i) {
    if (at.start[i] < 0 || at.start[i] + (p.kernel[i] - 1) * p.dilations[i] >= p.lengths[i]) return false;
  }
  return true;
}

void run_depthwise(const GraphCall& call, const Prepared& p, const MemberMemory& memory, int64_t begin,
                   int64_t end) noexcept {
  const float* rows[kMaxTaps];
  const int64_t channels = p.all_channels();
  const float* residual = call.input(kResidual);
  Position position = position_of(p, begin);
  bool was_inside = false;
  for (int64_t row = begin; row < end; ++row) {
    if (row > begin) position = next_position(p, position);
    const bool inside_now = is_inside(p, position);
    if (inside_now && was_inside && position.index[2] > 0) {  // the neighbour sees the same, one step further
      for (int64_t t = 0; t < p.taps; ++t) rows[t] += p.strides[2] * channels;
    } else {
      find_rows(p, &position, 1, call.input(kX), memory.zeros, rows);
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
