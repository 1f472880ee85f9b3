// RotaryEmbedding of f32 and lathe.RotaryTable. A position outside of the table is left to the reference.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/cpu/elementwise.h"
#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/isa.h"

namespace lathe::backend {
namespace {

enum Input : size_t { kX, kCos, kSin, kPositions };

struct Prepared {
  bool table = false;
  // Table: [positions][half].
  int64_t positions = 0, half = 0;
  float scale = 1;
  // Embedding: a head's row is at (batch * heads + head) * sequence + step, or (packed) (.. step) * heads + head.
  int64_t batch = 0, heads = 0, sequence = 0, size = 0, pairs = 0, rows = 0;
  bool packed = false, interleaved = false;
};

std::optional<std::string> fit(Problem& problem) {
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  if (problem.instruction->op == "lathe.RotaryTable") {
    return problem.attributes().has("dynamic_factor") ? std::optional<std::string>("frequencies that lengths change")
                                                       : std::nullopt;
  }
  return is_f32(problem.inputs[kX]) ? std::nullopt : std::optional<std::string>("types other than f32");
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const op::Attributes& attributes = problem.attributes();
  const tensor::Dims& x = problem.inputs[kX].dims;
  p->table = problem.instruction->op == "lathe.RotaryTable";
  if (p->table) {
    p->positions = problem.inputs[0].size();
    p->half = problem.inputs[1].size();
    p->scale = float(attributes.get_float("scale", 1));
    return p;
  }
  p->packed = x.size() == 3;
  p->interleaved = attributes.get_int("interleaved", 0) != 0;
  p->batch = x[0];
  p->heads = p->packed ? attributes.get_int("num_heads", 1) : x[1];
  p->sequence = x[p->packed ? 1 : 2];
  p->size = p->packed ? x[2] / p->heads : x[3];
  p->pairs = problem.inputs[kCos].dims.back();
  p->rows = p->pairs == 0 ? 0 : problem.inputs[kCos].size() / p->pairs;
  return p;
}

void fill_table(const GraphCall& call, const Prepared& p, const TeamMember& member) noexcept {
  const cpu::ElementwiseKernels& kernels = cpu::elementwise_kernels(cpu::Isa(call.problem->isa));
  const auto [begin, end] = member.share(p.positions);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t position = call.input<int64_t>(0)[i];
    if (position < 0 || position > std::numeric_limits<int32_t>::max()) return call.refuse();
    const auto narrow = int32_t(position);
    kernels.rotary_table(&narrow, 1, call.input(1), p.half, p.scale, call.output(0) + i * p.half,
                         call.output(1) + i * p.half);
  }
}

void rotate(const Prepared& p, const float* x, const float* cos, const float* sin, float* y) noexcept {
  if (p.interleaved) {
    for (int64_t i = 0; i < p.pairs; ++i) {
      const float a = x[2 * i], b = x[2 * i + 1];
      y[2 * i] = a * cos[i] - b * sin[i];
      y[2 * i + 1] = b * cos[i] + a * sin[i];
    }
  } else {
    for (int64_t i = 0; i < p.pairs; ++i) {
      const float a = x[i], b = x[i + p.pairs];
      y[i] = a * cos[i] - b * sin[i];
      y[i + p.pairs] = b * cos[i] + a * sin[i];
    }
  }
  std::copy(x + 2 * p.pairs, x + p.size, y + 2 * p.pairs);
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  if (p.table) return fill_table(call, p, member);
  const auto [begin, end] = member.share(p.batch * p.sequence);
  for (int64_t step = begin; step < end; ++step) {
    const int64_t row = call.input<int64_t>(kPositions) ? call.input<int64_t>(kPositions)[step] : step;
    if (p.pairs > 0 && (row < 0 || row >= p.rows)) return call.refuse();
    const int64_t b = step / p.sequence, s = step % p.sequence;
    for (int64_t h = 0; h < p.heads; ++h) {
      const int64_t at = (p.packed ? step * p.heads + h : (b * p.heads + h) * p.sequence + s) * p.size;
      rotate(p, call.input(kX) + at, call.input(kCos) + row * p.pairs, call.input(kSin) + row * p.pairs,
             call.output() + at);
    }
  }
}

}  // namespace

const GraphKernel& rotary_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.rotary",
                                     .ops = {"RotaryEmbedding", "lathe.RotaryTable"},
                                     .fit = fit,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
