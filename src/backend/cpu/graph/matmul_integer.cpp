// MatMulInteger of 8-bit numbers, exactly, on the panels of f32: a product of two centred bytes is below 2^16, so the
// sum of 256 of them is exact in f32; such sums are added as integers.
#include <algorithm>

#include "backend/cpu/graph_attributes.h"
#include "backend/cpu/products.h"
#include "backend/cpu/tiers.h"

namespace lathe::backend {
namespace {

using tensor::DType;

enum Input : size_t { kA, kB, kAZero, kBZero };
constexpr int64_t kDepth = 256;

struct Prepared {
  int64_t m, k, n, matrices;
  int64_t b_stride;  // from one matrix to the next, 0: one for all
  bool zero_by_column;
};

bool is_byte(const ProblemValue& value) {
  return value.dtype == DType::u8 || value.dtype == DType::i8;
}

std::optional<std::string> fit(Problem& problem) {
  const tensor::Dims& a = problem.inputs[kA].dims;
  const tensor::Dims& b = problem.inputs[kB].dims;
  if (!is_byte(problem.inputs[kA]) || !is_byte(problem.inputs[kB])) return "no bytes";
  if (a.size() < 2 || b.size() < 2) return "a vector";
  const bool same_batch = a.size() == b.size() && std::equal(a.begin(), a.end() - 2, b.begin());
  if (b.size() != 2 && !same_batch) return "matrices that are broadcast";
  if (problem.has_input(kAZero) && problem.inputs[kAZero].size() != 1) return "a zero point for each row";
  if (problem.has_input(kBZero) && problem.inputs[kBZero].size() != 1) {
    if (problem.inputs[kBZero].dims.size() != 1) return "zero points for each matrix";
  }
  for (ProblemValue& input : problem.inputs) input.order = Order::plain;
  return std::nullopt;
}

Prepared sizes_of(const Problem& problem) {
  const tensor::Dims& a = problem.inputs[kA].dims;
  const tensor::Dims& b = problem.inputs[kB].dims;
  Prepared p{};
  p.n = b.back();
  p.k = a.back();
  p.m = a[a.size() - 2];
  p.matrices = tensor::element_count(std::span(a).first(a.size() - 2));
  p.b_stride = b.size() == 2 ? 0 : p.k * p.n;
  if (b.size() == 2) {  // one matrix with more rows
    p.m *= p.matrices;
    p.matrices = 1;
  }
  p.zero_by_column = problem.has_input(kBZero) && problem.inputs[kBZero].size() != 1;
  return p;
}

std::shared_ptr<const void> prepare(const Problem& problem) {
  return std::make_shared<Prepared>(sizes_of(problem));
}

// Of each member: a part of its panels as floats, the sums of its panels, the sums of a tile.
int64_t run_panels(const Problem& problem) {
  return cpu::conv_tier(problem).max_panels;
}
int64_t member_floats(const Problem& problem) {
  const int64_t width = run_panels(problem) * 16;
  return kDepth * width + sizes_of(problem).m * width + cpu::kTileFloats;
}

size_t scratch_size(const Problem& problem) {
  const Prepared p = sizes_of(problem);
  const int64_t rows = (p.matrices * p.m * p.k + 15) / 16 * 16;
  return size_t(rows + member_floats(problem) * problem.threads) * sizeof(float);
}

int zero_of(const GraphCall& call, size_t input, int64_t i) noexcept {
  if (!call.problem->has_input(input)) return 0;
  return call.problem->inputs[input].dtype == DType::u8 ? int(call.input<uint8_t>(input)[i])
                                                         : int(call.input<int8_t>(input)[i]);
}

template <class T>
void centre(const T* x, int zero, int64_t count, float* y) noexcept {
  for (int64_t i = 0; i < count; ++i) y[i] = float(int(x[i]) - zero);
}

// Rows [k0, k0 + depth) of panels [first, end) of b.
template <class T>
void pack(const GraphCall& call, const Prepared& p, const T* b, int64_t k0, int64_t depth, int64_t first, int64_t end,
          float* panels) noexcept {
  for (int64_t panel = first; panel < end; ++panel) {
    const int64_t columns = std::min<int64_t>(16, p.n - panel * 16);
    float zeros[16] = {};
    for (int64_t j = 0; j < columns; ++j)
      zeros[j] = float(zero_of(call, kBZero, p.zero_by_column ? panel * 16 + j : 0));
    for (int64_t k = 0; k < depth; ++k, panels += 16) {
      const T* row = b + (k0 + k) * p.n + panel * 16;
      for (int64_t j = 0; j < columns; ++j) panels[j] = float(row[j]) - zeros[j];
      for (int64_t j = columns; j < 16; ++j) panels[j] = 0;
    }
  }
}

// Columns of panels [first, end) of one matrix: at most the tier's panels of a tile.
void multiply(const GraphCall& call, const Prepared& p, const float* a, int64_t matrix, int64_t first, int64_t end,
              float* own) noexcept {
  const int64_t width = (end - first) * 16;
  float* panels = own;
  float* sums = panels + kDepth * run_panels(*call.problem) * 16;
  float* tile = sums + p.m * run_panels(*call.problem) * 16;
  const int64_t columns = std::min(width, p.n - first * 16);
  for (int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, p.k - k0);
    if (call.problem->inputs[kB].dtype == DType::u8) {
      pack(call, p, call.input<uint8_t>(kB) + matrix * p.b_stride, k0, depth, first, end, panels);
    } else {
      pack(call, p, call.input<int8_t>(kB) + matrix * p.b_stride, k0, depth, first, end, panels);
    }
    cpu::multiply_panels(cpu::conv_tier(*call.problem), {.a = a + matrix * p.m * p.k + k0,
                                                         .a_stride = p.k,
                                                         .rows = p.m,
                                                         .k = depth,
                                                         .n = width,
                                                         .panels = panels,
                                                         .first = 0,
                                                         .end = end - first,
                                                         .y = sums,
                                                         .y_stride = width,
                                                         .sums = tile});
    for (int64_t row = 0; row < p.m; ++row) {
      int32_t* y = call.output<int32_t>() + (matrix * p.m + row) * p.n + first * 16;
      const float* from = sums + row * width;
      for (int64_t j = 0; j < columns; ++j) {
        const uint32_t before = k0 == 0 ? 0 : uint32_t(y[j]);
        y[j] = int32_t(before + uint32_t(int32_t(from[j])));
      }
    }
  }
}

void run(const GraphCall& call, TeamMember& member) noexcept {
  const auto& p = *static_cast<const Prepared*>(call.prepared);
  const int64_t elements = p.matrices * p.m * p.k;
  float* a = reinterpret_cast<float*>(call.scratch);
  float* own = a + (elements + 15) / 16 * 16 + member_floats(*call.problem) * member.index();
  const auto [first, last] = member.share(elements, 64);
  const int zero = zero_of(call, kAZero, 0);
  if (call.problem->inputs[kA].dtype == DType::u8) {
    centre(call.input<uint8_t>(kA) + first, zero, last - first, a + first);
  } else {
    centre(call.input<int8_t>(kA) + first, zero, last - first, a + first);
  }
  member.barrier();
  if (p.k == 0) {
    const auto [begin, end] = member.share(p.matrices * p.m * p.n);
    std::fill(call.output<int32_t>() + begin, call.output<int32_t>() + end, 0);
    return;
  }
  const int64_t panels = (p.n + 15) / 16;
  const int64_t width = run_panels(*call.problem);
  const int64_t runs = (panels + width - 1) / width;
  const auto [begin, end] = member.share(p.matrices * runs);
  for (int64_t item = begin; item < end; ++item) {
    const int64_t run = item % runs;
    multiply(call, p, a, item / runs, panels * run / runs, panels * (run + 1) / runs, own);
  }
}

}  // namespace

const GraphKernel& matmul_integer_graph_kernel() {
  static const GraphKernel kernel = {.name = "cpu.matmul_integer",
                                     .ops = {"MatMulInteger"},
                                     .fit = fit,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kernel;
}

}  // namespace lathe::backend
