// GatherElements, GatherND, ScatterElements and ScatterND. An index out of range is left to the reference.
#include <algorithm>
#include <cstring>

#include "backend/cpu/element_types.h"
#include "backend/cpu/graph_attributes.h"
#include "backend/graph_order.h"

namespace lathe::backend {
namespace {

constexpr size_t kMaxRank = 8;

enum class Reduction : uint8_t { none, add, mul, max, min };

struct Prepared {
  bool scatter, elements;
  // Elements: the indices' axes, strides of the data along them, the axis that the index replaces.
  size_t rank = 0, axis = 0;
  int64_t dims[kMaxRank], strides[kMaxRank];
  int64_t length = 0, step = 0;
  // Slices: coordinates of each, lengths and strides of the axes that they count along, elements of a slice.
  size_t depth = 0;
  int64_t lengths[kMaxRank];
  int64_t slice = 1, batch_items = 1, batch_stride = 0;  // slices of a batch, elements of the data in a batch
  int64_t items = 0;
  Reduction reduction = Reduction::none;
};

Reduction reduction_of(const Problem& problem) {
  const std::string name = problem.attributes().get_string("reduction", "none");
  if (name == "add") return Reduction::add;
  if (name == "mul") return Reduction::mul;
  if (name == "max") return Reduction::max;
  return name == "min" ? Reduction::min : Reduction::none;
}

std::optional<std::string> fit(Problem& problem) {
  if (element_bytes(problem.inputs[0]) == 0) return "elements of less than a byte";
  if (problem.inputs[0].dims.size() > kMaxRank) return "more than 8 axes";
  const tensor::DType indices = problem.inputs[1].dtype;
  if (indices != tensor::DType::i64 && indices != tensor::DType::i32) return "indices of another type";
  if (reduction_of(problem) != Reduction::none && !is_f32(problem.inputs[0])) return "a reduction of no f32";
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  auto p = std::make_shared<Prepared>();
  const std::string& op = problem.instruction->op;
  const tensor::Dims& data = problem.inputs[0].dims;
  const tensor::Dims& indices = problem.inputs[1].dims;
  const std::vector<int64_t> strides = strides_of(data, Order::plain);
  p->scatter = op.starts_with("Scatter");
  p->elements = op.ends_with("Elements");
  p->reduction = p->scatter ? reduction_of(problem) : Reduction::none;
  if (p->elements) {
    p->axis = axis_at(problem.attributes().get_int("axis", 0), data.size());
    p->rank = data.size();
    std::copy(indices.begin(), indices.end(), p->dims);
    std::copy(strides.begin(), strides.end(), p->strides);
    p->length = data[p->axis];
    p->step = strides[p->axis];
    p->strides[p->axis] = 0;
    p->items = problem.inputs[1].size();
    return p;
  }
  const size_t batch = p->scatter ? 0 : size_t(problem.attributes().get_int("batch_dims", 0));
  p->depth = size_t(indices.back());
  for (size_t i = 0; i < p->depth; ++i) {
    p->lengths[i] = data[batch + i];
    p->strides[i] = strides[batch + i];
  }
  p->slice = tensor::element_count(std::span(data).subspan(batch + p->depth));
  p->batch_stride = tensor::element_count(std::span(data).subspan(batch));
  p->batch_items = tensor::element_count(std::span(indices).first(indices.size() - 1).subspan(batch));
  p->items = tensor::element_count(std::span(indices).first(indices.size() - 1));
  return p;
}

// Where in the data item `i` is; -1 out of range.
template <class Index>
int64_t place_of(const Prepared& p, const Index* indices, int64_t i) noexcept {
  if (p.elements) {
    int64_t index = indices[i], at = 0, rest = i;
    if (index < 0) index += p.length;
    if (index < 0 || index >= p.length) return -1;
    for (size_t d = p.rank; d-- > 0;) {
      at += rest % p.dims[d] * p.strides[d];
      rest /= p.dims[d];
    }
    return at + index * p.step;
  }
  int64_t at = i / p.batch_items * p.batch_stride;
  for (size_t d = 0; d < p.depth; ++d) {
    int64_t index = indices[i * int64_t(p.depth) + int64_t(d)];
    if (index < 0) index += p.lengths[d];
    if (index < 0 || index >= p.lengths[d]) return -1;
    at += index * p.strides[d];
  }
  return at;
}

int64_t place(const GraphCall& call, const Prepared& p, int64_t i) noexcept {
  return call.problem->inputs[1].dtype == tensor::DType::i64 ? place_of(p, call.input<int64_t>(1), i)
                                                             : place_of(p, call.input<int32_t>(1), i);
}

template <class T>
void gather(const GraphCall& call, const Prepared& p, const TeamMember& member) noexcept {
  const auto [begin, end] = member.share(p.items);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t from = place(call, p, i);
    if (from < 0) return call.refuse();
    if (p.slice == 1) {
      call.output<T>()[i] = call.input<T>(0)[from];
    } else {
      std::memcpy(call.output<T>() + i * p.slice, call.input<T>(0) + from, size_t(p.slice) * sizeof(T));
    }
  }
}

float combine(Reduction reduction, float old, float fresh) noexcept {
  switch (reduction) {
    case Reduction::add:
      return old + fresh;
    case Reduction::mul:
      return old * fresh;
    case Reduction::max:
      return old != old || old > fresh ? old : fresh;
    default:
      return old != old || old < fresh ? old : fresh;
  }
}

// Updates in their order, where the last one stays: by one member.
template <class T>
void scatter(const GraphCall& call, const Prepared& p, TeamMember& member) noexcept {
  const auto [begin, end] = member.share(call.problem->inputs[0].size());
  std::copy(call.input<T>(0) + begin, call.input<T>(0) + end, call.output<T>() + begin);
  member.barrier();
  if (member.index() != 0) return;
  for (int64_t i = 0; i < p.items; ++i) {
    const int64_t to = place(call, p, i);
    if (to < 0) return call.refuse();
    if (p.reduction == Reduction::none) {
      std::copy(call.input<T>(2) + i * p.slice, call.input<T>(2) + (i + 1) * p.slice, call.output<T>() + to);
      continue;
    }
    for (int64_t j = 0; j < p.slice; ++j) {
      float& y = call.output()[to + j];
      y = combine(p.reduction, y, call.input(2)[i * p.slice + j]);
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  cpu::with_element(element_bytes(call.problem->inputs[0]), [&](auto zero) {
    using T = decltype(zero);
    p.scatter ? scatter<T>(call, p, member) : gather<T>(call, p, member);
  });
}

}  // namespace

const GraphKernel& select_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.select",
                                     .ops = {"GatherElements", "GatherND", "ScatterElements", "ScatterND"},
                                     .fit = fit,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
