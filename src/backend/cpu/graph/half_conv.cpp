// lathe.Conv on 16-bit weights (half_layouts.h) over channels-last values: tiles as those of cpu.conv, their rows
// rounded to bf16 first where that is asked for.
#include <algorithm>
#include <cstring>

#include "backend/cpu/conv_epilogue.h"
#include "backend/cpu/conv_windows.h"
#include "backend/cpu/half_layouts.h"
#include "backend/cpu/half_rows.h"
#include "backend/cpu/winograd_tiles.h"

namespace lathe::backend {
namespace {

constexpr size_t kX = cpu::kConvX, kWeights = cpu::kConvWeights;
constexpr int64_t kPanel = 16;

using cpu::kMaxTaps;

// `channels` are those of a group as its rows lie: filled up to pairs where they are not gathered.
struct Prepared : cpu::ConvWindows {
  cpu::HalfRows x;  // a row: the channels of a group at one position
  cpu::HalfPanels panels;
  bool gather;
  int64_t inputs;  // positions of x
  const cpu::HalfTileForm* form;
  cpu::Epilogue epilogue;

  // Numbers of a gathered row, in whole steps.
  int64_t row_numbers() const { return panels.steps * panels.step_columns; }
  int64_t copied_bytes() const { return x.bytes(inputs * group); }
  // Of a member: zeros (a row of padding), sums of a tile, gathered rows and what the last chunk writes in vain.
  int64_t zero_bytes() const { return (channels * 4 + 127) / 64 * 64; }
  int64_t sums_bytes() const { return cpu::most_rows(*form) * cpu::kMaxTilePanels * kPanel * 4; }
  int64_t gathered_bytes() const {
    return gather ? ((row_numbers() + 32) * cpu::most_rows(*form) * 4 + 63) / 64 * 64 : 0;
  }
  int64_t member_bytes() const { return zero_bytes() + sums_bytes() + gathered_bytes(); }
};

std::optional<std::string> fit(Problem& problem) {
  const ProblemValue& w = problem.inputs[kWeights];
  if (w.layout != cpu::kConvBf16 && w.layout != cpu::kConvF16) return "weights that are not in 16 bits";
  if (problem.inputs[kX].dtype != tensor::DType::f32) return "x that is not f32";
  if (cpu::transforms_weights(problem)) return "3 x 3 that is worth Winograd's transforms";
  cpu::set_channels_last(problem);
  return std::nullopt;
}

Prepared sizes_of(const Problem& problem) {
  Prepared p{};
  const ProblemValue& x = problem.inputs[kX];
  static_cast<cpu::ConvWindows&>(p) = cpu::conv_windows(problem, x, problem.inputs[kWeights]);
  p.gather = p.taps > 1 && p.channels < cpu::kGatherChannels;
  p.x = cpu::half_rows(problem, p.channels, !p.gather);
  p.panels = cpu::half_panels(p.features, p.taps, p.channels, p.x.form);
  p.inputs = x.dims[1] == 0 ? 0 : x.size() / x.dims[1];
  p.channels = p.x.pitch;
  p.form = &cpu::half_tile_form(cpu::isa_of(problem), p.x.form);
  return p;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>(sizes_of(problem));
  p->epilogue = cpu::conv_epilogue(problem);
  return p;
}

size_t scratch_size(const Problem& problem) {
  const Prepared p = sizes_of(problem);
  return size_t(p.copied_bytes() + p.member_bytes() * problem.threads);
}

struct Memory {
  const std::byte* x;  // [positions][group][channels], copied or as it is given
  std::byte* zeros;
  float* sums;
  std::byte* gathered;
  cpu::TileShape* tiles;
};

struct Block {
  int64_t group;
  int64_t begin, end;                // output positions
  int64_t run_begin, run_end, runs;  // runs of panels
};

// Rows of numbers of type T.
template <class T>
void run_block(const GraphCall& call, const Prepared& p, const Memory& memory, const Block& block) noexcept {
  const T* rows[kMaxTaps * cpu::kMaxHalfRows];
  cpu::WindowPosition positions[cpu::kMaxHalfRows];
  const T* all = reinterpret_cast<const T*>(memory.x);
  const T* x = all + block.group * p.channels;
  const T* end_of_x = all + p.inputs * p.all_channels();
  T* gathered = reinterpret_cast<T*>(memory.gathered);
  const int64_t stride = p.panels.panel_numbers(), gathered_pitch = p.row_numbers() + 32;
  const uint16_t* weights = call.input<uint16_t>(kWeights) + block.group * p.panels.numbers();
  for (int64_t run = block.run_begin; run < block.run_end; ++run) {
    const cpu::PanelRun part = cpu::panel_run(p.panels.panels(), run, block.runs);
    const int64_t tile_rows = p.form->tile_rows[part.count];
    cpu::WindowPosition last{};
    for (int64_t row = block.begin; row < block.end; row += tile_rows) {
      const int64_t count = std::min(tile_rows, block.end - row);
      if (p.matrix) {
        for (int64_t r = 0; r < count; ++r) rows[r] = x + (row + r) * p.all_channels();
      } else {
        positions[0] = row == block.begin ? cpu::position_of(p, row) : cpu::next_position(p, last);
        for (int64_t r = 1; r < count; ++r) positions[r] = cpu::next_position(p, positions[r - 1]);
        last = positions[count - 1];
        if (p.gather) {
          cpu::gather_rows(p, positions, count, x, end_of_x, T(0), gathered_pitch, gathered, rows);
          for (int64_t r = 0; r < count; ++r) {
            T* end = gathered + r * gathered_pitch;
            std::fill(end + p.panels.columns, end + p.row_numbers(), T(0));
          }
        } else {
          cpu::find_rows(p, positions, count, x, reinterpret_cast<const T*>(memory.zeros), rows);
        }
      }
      p.form->tile({.rows = reinterpret_cast<const void* const*>(rows),
                    .row_count = count,
                    .taps = p.panels.taps,
                    .steps = p.panels.steps,
                    .panels = weights + part.first * stride,
                    .panel_stride = stride,
                    .panel_count = part.count,
                    .sums = memory.sums,
                    .sum_stride = part.count * kPanel,
                    .tiles = memory.tiles});
      const int64_t feature = part.first * kPanel;
      const int64_t features = std::min(part.count * kPanel, p.features - feature);
      cpu::finish_rows(cpu::conv_tier(*call.problem), p.epilogue,
                       cpu::conv_rows(call, memory.sums, part.count * kPanel, row, count,
                                      block.group * p.features + feature, features, p.all_features()));
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  std::byte* own = call.scratch + p.copied_bytes() + p.member_bytes() * member.index();
  cpu::TileUse tiles(p.form->release);
  const Memory memory{.x = p.x.copied() ? call.scratch : call.inputs[kX],
                      .zeros = own,
                      .sums = reinterpret_cast<float*>(own + p.zero_bytes()),
                      .gathered = own + p.zero_bytes() + p.sums_bytes(),
                      .tiles = tiles.shape()};
  std::memset(memory.zeros, 0, size_t(p.zero_bytes()));
  if (p.x.copied()) {
    const auto [first, end] = member.share(p.inputs * p.group);
    cpu::copy_rows(cpu::half_tier(*call.problem), p.x, call.input(kX), first, end, call.scratch);
    member.barrier();
  }
  const int64_t together = cpu::run_panels(*p.form, p.panels.panel_numbers() * 2);
  const int64_t runs = (p.panels.panels() + together - 1) / together;
  const int64_t grain = p.form->grain;
  // By positions where there are enough of them for every member, else by features.
  const bool by_positions = p.positions >= member.size() * 2 * grain || runs < member.size();
  const auto [begin, end] = by_positions ? member.share(p.positions, grain) : TeamMember::Range{0, p.positions};
  const auto [run_begin, run_end] = by_positions ? TeamMember::Range{0, runs} : member.share(runs);
  // Blocks of positions whose inputs stay in the second cache while all features are made of them.
  const int64_t row_bytes = p.taps * p.channels * p.x.number_bytes() / std::max<int64_t>(1, p.kernel[1]);
  const int64_t length = std::max(grain, p.form->block_bytes / std::max<int64_t>(1, row_bytes) / grain * grain);
  const auto run_type = p.x.form == cpu::HalfForm::bf16_dot ? run_block<uint16_t> : run_block<float>;
  for (int64_t group = 0; group < p.group; ++group) {
    for (int64_t at = begin; at < end; at += length) {
      run_type(call, p, memory, {group, at, std::min(at + length, end), run_begin, run_end, runs});
    }
  }
}

}  // namespace

const GraphKernel& half_conv_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.half_conv",
                                     .ops = {"lathe.Conv"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
