// Pad and Tile: for each axis a table of where its elements come from; the innermost axis in runs.
#include <algorithm>
#include <cstring>

#include "backend/cpu/element_types.h"
#include "backend/cpu/graph_attributes.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

constexpr int64_t kFill = -1;

// Elements [begin, begin + count) of the innermost axis come from from, from + step, ...; or are the constant.
struct Run {
  int64_t begin, count, from, step;
};

struct Prepared {
  std::vector<std::vector<int64_t>> outer;  // offsets into x by axis as it lies, without the innermost; or kFill
  std::vector<Run> runs;
  int64_t rows = 1, columns = 1;
};

// The index of x that position `at` of an axis shows. Length 0 has only the constant (fit sees to it).
int64_t source_of(int64_t at, int64_t length, std::string_view mode) {
  if (at >= 0 && at < length) return at;
  if (mode == "constant") return kFill;
  if (mode == "edge") return at < 0 ? 0 : length - 1;
  if (mode == "wrap") return (at % length + length) % length;
  if (length == 1) return 0;
  const int64_t period = 2 * (length - 1);
  const int64_t folded = (at < 0 ? -at : at) % period;
  return folded < length ? folded : period - folded;
}

// Elements before the first one, by axis; nullopt where they are not known.
std::optional<std::vector<int64_t>> pads_before(const Problem& problem) {
  const size_t rank = problem.inputs[0].dims.size();
  const auto pads = ints_of(problem, 1);
  const auto axes = ints_of(problem, 3);
  if (!pads || (problem.has_input(3) && !axes)) return std::nullopt;
  std::vector<int64_t> before(rank, 0);
  const size_t count = axes ? axes->size() : rank;
  for (size_t i = 0; i < count; ++i) before[axes ? axis_at((*axes)[i], rank) : i] = (*pads)[i];
  return before;
}

std::optional<std::string> fit(Problem& problem) {
  const ProblemValue& x = problem.inputs[0];
  if (element_bytes(x) == 0) return "elements of less than a byte";
  if (problem.instruction->op == "Pad") {
    if (!pads_before(problem)) return "pads that are not known";
    if (x.size() == 0 && problem.attributes().get_string("mode", "constant") != "constant") return "nothing to repeat";
  }
  problem.outputs[0].order = x.order;
  return std::nullopt;
}

// Offsets into x of the positions of an axis of the result.
std::vector<int64_t> table_of(const Problem& problem, size_t axis, int64_t stride) {
  const int64_t length = problem.inputs[0].dims[axis];
  const bool tile = problem.instruction->op == "Tile";
  const std::string mode = problem.attributes().get_string("mode", "constant");
  const int64_t before = tile ? 0 : (*pads_before(problem))[axis];
  std::vector<int64_t> table;
  for (int64_t i = 0; i < problem.outputs[0].dims[axis]; ++i) {
    const int64_t from = tile ? i % length : source_of(i - before, length, mode);
    table.push_back(from == kFill ? kFill : from * stride);
  }
  return table;
}

std::vector<Run> runs_of(const std::vector<int64_t>& table) {
  std::vector<Run> runs;
  for (int64_t i = 0; i < int64_t(table.size()); ++i) {
    const int64_t from = table[size_t(i)];
    if (!runs.empty()) {
      Run& run = runs.back();
      const int64_t last = run.from == kFill ? kFill : run.from + (run.count - 1) * run.step;
      const int64_t step = run.from == kFill ? 0 : from - last;
      const bool alike = (run.from == kFill) == (from == kFill);
      if (alike && (run.count == 1 || step == run.step) && step >= -1 && step <= 1) {
        run.step = step;
        ++run.count;
        continue;
      }
    }
    runs.push_back({i, 1, from, 0});
  }
  return runs;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const ProblemValue& x = problem.inputs[0];
  const std::vector<int64_t> strides = strides_of(x.dims, x.order);
  const std::vector<size_t> axes = axes_in_order(x.dims.size(), x.order);
  if (axes.empty()) {
    p->runs = {{0, 1, 0, 1}};
    return p;
  }
  if (problem.outputs[0].size() == 0) {
    p->rows = 0;
    return p;
  }
  for (const size_t axis : axes) p->outer.push_back(table_of(problem, axis, strides[axis]));
  p->runs = runs_of(p->outer.back());
  p->columns = int64_t(p->outer.back().size());
  p->outer.pop_back();
  for (const auto& table : p->outer) p->rows *= int64_t(table.size());
  return p;
}

template <class T>
void write_row(const Prepared& p, const T* x, T fill, T* y) noexcept {
  for (const Run& run : p.runs) {
    T* to = y + run.begin;
    if (!x || run.from == kFill) {
      std::fill(to, to + run.count, fill);
    } else if (run.step == 1) {
      std::memcpy(to, x + run.from, size_t(run.count) * sizeof(T));
    } else {
      for (int64_t i = 0; i < run.count; ++i) to[i] = x[run.from + i * run.step];
    }
  }
}

template <class T>
void write_rows(const GraphCall& call, const Prepared& p, const TeamMember& member) noexcept {
  const T* x = call.input<T>(0);
  const bool pads = call.problem->instruction->op == "Pad";
  const T fill = pads && call.problem->has_input(2) ? *call.input<T>(2) : T{};
  const auto [begin, end] = member.share(p.rows);
  for (int64_t row = begin; row < end; ++row) {
    int64_t rest = row, from = 0;
    for (size_t i = p.outer.size(); i-- > 0 && from != kFill;) {
      const auto& table = p.outer[i];
      const int64_t offset = table[size_t(rest % int64_t(table.size()))];
      rest /= int64_t(table.size());
      from = offset == kFill ? kFill : from + offset;
    }
    write_row(p, from == kFill ? nullptr : x + from, fill, call.output<T>() + row * p.columns);
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  cpu::with_element(element_bytes(call.problem->inputs[0]),
                    [&](auto zero) { write_rows<decltype(zero)>(call, p, member); });
}

}  // namespace

const GraphKernel& pad_graph_kernel() {
  static const GraphKernel kernel = {
      .name = "cpu.pad", .ops = {"Pad", "Tile"}, .fit = fit, .prepare = prepare, .run = run};
  return kernel;
}

}  // namespace lathe::backend
