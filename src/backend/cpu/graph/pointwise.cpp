// lathe.Pointwise: the program runs over tiles of the result that the first cache holds, one function call a step.
//
// The result is a walk over dims; an input that is broadcast has strides of 0. Axes that all inputs walk alike are
// joined. Inputs that lie as the result does are read in place, numbers stay numbers, the others are copied to the tile.
#include <algorithm>
#include <cstring>

#include "backend/cpu/pointwise_program.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

constexpr int64_t kTile = 1024;
constexpr size_t kMaxInputs = 16;
constexpr size_t kMaxValues = 48;
constexpr size_t kMaxRank = 8;

// How an input is read.
enum class Reading : uint8_t { in_place, number, copied };

struct Operand {
  Reading reading = Reading::in_place;
  int64_t strides[kMaxRank] = {};  // of the joined axes
};

struct Prepared {
  std::vector<cpu::PointwiseInstruction> steps;
  std::vector<Operand> operands;
  std::vector<int64_t> dims;  // joined, in the order in which the result lies
  int64_t count = 0;
};

// Strides of `value` for each axis of a result of that rank, by axis.
std::vector<int64_t> broadcast_strides(const ProblemValue& value, size_t rank) {
  const std::vector<int64_t> own = strides_of(value.dims, value.order);
  std::vector<int64_t> result(rank - own.size(), 0);
  result.insert(result.end(), own.begin(), own.end());
  return result;
}

std::optional<std::string> fit(Problem& problem) {
  if (problem.inputs.size() > kMaxInputs) return "more than 16 inputs";
  ProblemValue& y = problem.outputs[0];
  if (y.dims.size() > kMaxRank) return "more than 8 axes";
  if (problem.inputs.size() + problem.attributes().find_strings("steps")->size() > kMaxValues) return "a long program";
  // As the first input of the result's shape lies; those that lie otherwise are moved, smaller ones are read as they lie.
  for (const ProblemValue& input : problem.inputs) {
    if (input.dims != y.dims || input.known) continue;
    y.order = input.order;
    break;
  }
  for (ProblemValue& input : problem.inputs) {
    if (input.dims == y.dims || input.layout != "plain") input.order = input.known ? Order::plain : y.order;
  }
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto prepared = std::make_shared<Prepared>();
  const ProblemValue& y = problem.outputs[0];
  const size_t rank = y.dims.size();
  for (const op::PointwiseStep& step :
       op::parse_steps(*problem.attributes().find_strings("steps"), int64_t(problem.inputs.size()))) {
    prepared->steps.push_back(cpu::compile_step(step, cpu::Isa(problem.isa)));
  }
  std::vector<std::vector<int64_t>> strides;
  for (const ProblemValue& input : problem.inputs) strides.push_back(broadcast_strides(input, rank));
  strides.push_back(broadcast_strides(y, rank));
  // Axes from the outermost, each joined to the one before it where every operand walks both as one.
  std::vector<size_t> kept;
  for (const size_t axis : axes_in_order(rank, y.order)) {
    if (y.dims[axis] == 1) continue;
    const auto one_walk = [&](const auto& s) { return s[kept.back()] == s[axis] * y.dims[axis]; };
    if (!kept.empty() && std::all_of(strides.begin(), strides.end(), one_walk)) {
      prepared->dims.back() *= y.dims[axis];
      kept.back() = axis;
    } else {
      prepared->dims.push_back(y.dims[axis]);
      kept.push_back(axis);
    }
  }
  if (kept.empty()) prepared->dims.push_back(1);
  prepared->count = y.size();
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    Operand operand;
    bool same = true, none = true;
    for (size_t k = 0; k < kept.size(); ++k) {
      operand.strides[k] = strides[i][kept[k]];
      same &= operand.strides[k] == strides.back()[kept[k]];
      none &= operand.strides[k] == 0;
    }
    operand.reading = none ? Reading::number : same ? Reading::in_place : Reading::copied;
    prepared->operands.push_back(operand);
  }
  return prepared;
}

// Elements [begin, begin + count) of the walk, copied to `out`.
void copy_walk(const Prepared& prepared, const Operand& operand, const float* from, int64_t begin, int64_t count,
               float* out) noexcept {
  const auto& dims = prepared.dims;
  const size_t last = dims.size() - 1;
  int64_t index[kMaxRank];
  int64_t rest = begin;
  int64_t offset = 0;
  for (size_t i = dims.size(); i-- > 0;) {
    index[i] = rest % dims[i];
    rest /= dims[i];
    offset += index[i] * operand.strides[i];
  }
  const int64_t stride = operand.strides[last];
  while (count > 0) {
    const int64_t run = std::min(count, dims[last] - index[last]);
    const float* source = from + offset;
    if (stride == 1) {
      std::memcpy(out, source, size_t(run) * 4);
    } else if (stride == 0) {
      std::fill(out, out + run, *source);
    } else {
      for (int64_t i = 0; i < run; ++i) out[i] = source[i * stride];
    }
    out += run;
    count -= run;
    offset -= index[last] * stride;
    index[last] = 0;
    for (size_t i = last; i-- > 0;) {
      offset += operand.strides[i];
      if (++index[i] < dims[i]) break;
      offset -= operand.strides[i] * dims[i];
      index[i] = 0;
    }
  }
}

// Scratch of a member: a tile for each value.
size_t member_floats(const Problem& problem) {
  return (problem.inputs.size() + problem.attributes().find_strings("steps")->size()) * size_t(kTile);
}

size_t scratch_size(const Problem& problem) {
  return member_floats(problem) * sizeof(float) * size_t(problem.threads);
}

void run_tile(const GraphCall& call, const Prepared& prepared, float* tiles, int64_t begin, int64_t count) noexcept {
  const float* values[kMaxValues];
  int64_t steps[kMaxValues];
  const size_t inputs = prepared.operands.size();
  for (size_t i = 0; i < inputs; ++i) {
    const Operand& operand = prepared.operands[i];
    steps[i] = operand.reading == Reading::number ? 0 : 1;
    values[i] = call.input(i);
    if (operand.reading == Reading::in_place) values[i] += begin;
    if (operand.reading != Reading::copied) continue;
    float* tile = tiles + int64_t(i) * kTile;
    copy_walk(prepared, operand, call.input(i), begin, count, tile);
    values[i] = tile;
  }
  for (size_t s = 0; s < prepared.steps.size(); ++s) {
    const cpu::PointwiseInstruction& step = prepared.steps[s];
    const bool last = s + 1 == prepared.steps.size();
    float* y = last ? call.output() + begin : tiles + int64_t(inputs + s) * kTile;
    cpu::PointwiseCall c{};
    c.a = step.a < 0 ? &step.a_number : values[step.a];
    c.a_step = step.a < 0 ? 0 : steps[step.a];
    if (step.two_operands) {
      c.b = step.b < 0 ? &step.b_number : values[step.b];
      c.b_step = step.b < 0 ? 0 : steps[step.b];
    }
    c.p = step.p;
    c.q = step.q;
    c.count = count;
    c.y = y;
    step.function(c);
    values[inputs + s] = y;
    steps[inputs + s] = 1;
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& prepared = *static_cast<const Prepared*>(call.prepared);
  float* tiles = reinterpret_cast<float*>(call.scratch) + int64_t(member_floats(*call.problem)) * member.index();
  const auto [begin, end] = member.share(prepared.count, 64);
  for (int64_t at = begin; at < end; at += kTile) {
    run_tile(call, prepared, tiles, at, std::min(kTile, end - at));
  }
}

}  // namespace

const GraphKernel& pointwise_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.pointwise",
                                     .ops = {"lathe.Pointwise"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run,
                                     .in_place = true};
  return kernel;
}

}  // namespace lathe::backend
