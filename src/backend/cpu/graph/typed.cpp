// Elementwise operators on numbers of any type, Where and Cast among them: tile by tile, one function call each.
#include <algorithm>

#include "backend/cpu/broadcast.h"
#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/typed.h"

namespace lathe::backend {
namespace {

using cpu::TypedOp;
using tensor::DType;

constexpr int64_t kTile = 4096;
constexpr size_t kMaxInputs = 16;

struct Prepared {
  cpu::TypedFunction function;
  cpu::Broadcast walk;
  std::vector<size_t> operands;  // inputs that are computed with, in the order of TypedCall
  int flags = 0;
  size_t result_bytes;  // of an element
};

constexpr std::pair<std::string_view, TypedOp> kOps[] = {
    {"Abs", TypedOp::abs},
    {"Add", TypedOp::add},
    {"And", TypedOp::bit_and},
    {"BitwiseAnd", TypedOp::bit_and},
    {"BitwiseNot", TypedOp::bit_not},
    {"BitwiseOr", TypedOp::bit_or},
    {"BitwiseXor", TypedOp::bit_xor},
    {"Div", TypedOp::div},
    {"Equal", TypedOp::equal},
    {"Greater", TypedOp::greater},
    {"GreaterOrEqual", TypedOp::greater_or_equal},
    {"IsInf", TypedOp::is_inf},
    {"IsNaN", TypedOp::is_nan},
    {"Less", TypedOp::less},
    {"LessOrEqual", TypedOp::less_or_equal},
    {"Max", TypedOp::max},
    {"Min", TypedOp::min},
    {"Mod", TypedOp::mod},
    {"Mul", TypedOp::mul},
    {"Neg", TypedOp::neg},
    {"Not", TypedOp::logical_not},
    {"Or", TypedOp::bit_or},
    {"Sign", TypedOp::sign},
    {"Sub", TypedOp::sub},
    {"Sum", TypedOp::add},
    {"Where", TypedOp::where},
    {"Xor", TypedOp::bit_xor},
};

cpu::TypedFunction function_of(const Problem& problem) {
  const std::string& op = problem.instruction->op;
  const cpu::TypedTier& tier =
      cpu::Isa(problem.isa) == cpu::Isa::avx2 ? cpu::avx2::kTypedTier : cpu::avx512::kTypedTier;
  const DType from = problem.inputs[op == "Where" ? 1 : 0].dtype;
  if (op == "Cast" || op == "CastLike") return tier.find_cast(from, problem.outputs[0].dtype);
  const auto it = std::find_if(std::begin(kOps), std::end(kOps), [&](const auto& entry) { return entry.first == op; });
  const bool fmod = op == "Mod" && problem.attributes().get_int("fmod", 0) != 0;
  return tier.find(fmod ? TypedOp::fmod : it->second, from);
}

// Whether a number may be one that the function does not compute with.
bool may_refuse(const Problem& problem) {
  const std::string& op = problem.instruction->op;
  const DType to = problem.outputs[0].dtype;
  if (op == "Cast" || op == "CastLike") return to == DType::f16 || to == DType::bf16;
  return (op == "Div" || op == "Mod") && tensor::is_integer(to);
}

std::optional<std::string> fit(Problem& problem) {
  if (problem.inputs.size() > kMaxInputs) return "more than 16 inputs";
  const std::string& op = problem.instruction->op;
  if ((op == "Max" || op == "Min" || op == "Sum") && problem.inputs.size() == 1) return "one input: nothing to compute";
  if (!function_of(problem)) return "types that no function is for";
  if (op == "CastLike") problem.inputs[1].order = Order::plain;
  if (const auto why = cpu::fit_broadcast(problem)) return why;
  if (!may_refuse(problem)) return std::nullopt;
  // The reference reads row-major.
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  problem.outputs[0].order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  const std::string& op = problem.instruction->op;
  auto p = std::make_shared<Prepared>();
  p->function = function_of(problem);
  if (op == "CastLike") {
    Problem alone = problem;
    alone.inputs.resize(1);
    p->walk = cpu::make_broadcast(alone);
  } else {
    p->walk = cpu::make_broadcast(problem);
  }
  for (size_t i = 0; i < p->walk.operands.size(); ++i) p->operands.push_back(i);
  if (op == "Where") p->operands = {1, 2, 0};
  p->flags = int(problem.attributes().get_int("detect_negative", 1) != 0) |
             int(problem.attributes().get_int("detect_positive", 1) != 0) << 1;
  p->result_bytes = element_bytes(problem.outputs[0]);
  return p;
}

constexpr size_t kTileBytes = size_t(kTile) * 8;  // of the widest type

size_t scratch_size(const Problem& problem) {
  return problem.inputs.size() * kTileBytes * size_t(problem.threads);
}

// An input of the tile and the step to its next element.
struct Part {
  const void* data;
  int64_t step;
};

Part read(const GraphCall& call, const Prepared& p, size_t i, std::byte* tiles, int64_t begin, int64_t count) noexcept {
  const cpu::BroadcastOperand& operand = p.walk.operands[i];
  const size_t bytes = element_bytes(call.problem->inputs[i]);
  if (operand.reading == cpu::Reading::number) return {call.inputs[i], 0};
  if (operand.reading == cpu::Reading::in_place) return {call.inputs[i] + size_t(begin) * bytes, 1};
  std::byte* tile = tiles + i * kTileBytes;
  cpu::copy_operand(p.walk, operand, bytes, call.inputs[i], begin, count, tile);
  return {tile, 1};
}

bool run_tile(const GraphCall& call, const Prepared& p, std::byte* tiles, int64_t begin, int64_t count) noexcept {
  const bool where = p.operands.size() == 3 && p.operands[2] == 0;
  std::byte* y = call.outputs[0] + size_t(begin) * p.result_bytes;
  const Part a = read(call, p, p.operands[0], tiles, begin, count);
  cpu::TypedCall c{.a = a.data, .a_step = a.step, .b = nullptr, .b_step = 0, .c = nullptr, .c_step = 0, .count = count,
                   .y = y, .flags = p.flags};
  if (where) {
    const Part b = read(call, p, 2, tiles, begin, count);
    const Part condition = read(call, p, 0, tiles, begin, count);
    c.b = b.data;
    c.b_step = b.step;
    c.c = condition.data;
    c.c_step = condition.step;
    return p.function(c);
  }
  if (p.operands.size() == 1) return p.function(c);
  // Of several inputs (Max, Sum): the result so far with the next.
  for (size_t i = 1; i < p.operands.size(); ++i) {
    const Part b = read(call, p, p.operands[i], tiles, begin, count);
    c.b = b.data;
    c.b_step = b.step;
    if (!p.function(c)) return false;
    c.a = y;
    c.a_step = 1;
  }
  return true;
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  std::byte* tiles = call.scratch + call.problem->inputs.size() * kTileBytes * size_t(member.index());
  const auto [begin, end] = member.share(p.walk.count, 64);
  for (int64_t at = begin; at < end; at += kTile) {
    if (!run_tile(call, p, tiles, at, std::min(kTile, end - at))) return call.refuse();
  }
}

}  // namespace

const GraphKernel& typed_graph_kernel() {
  static const GraphKernel kernel = {
      .name = "cpu.typed",
      .ops = {"Abs",         "Add",  "And",     "BitwiseAnd",     "BitwiseNot", "BitwiseOr", "BitwiseXor",
              "Cast",        "CastLike", "Div", "Equal",          "Greater",    "GreaterOrEqual", "IsInf",
              "IsNaN",       "Less", "LessOrEqual", "Max",        "Min",        "Mod",       "Mul",
              "Neg",         "Not",  "Or",      "Sign",           "Sub",        "Sum",       "Where",
              "Xor"},
      .fit = fit,
      .scratch_size = scratch_size,
      .prepare = prepare,
      .run = run};
  return kernel;
}

}  // namespace lathe::backend
