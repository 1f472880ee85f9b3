// Memory and products of the library on a GPU: the lines of tests/op/linear.cases that drive the CPU's kernels and the
// emulated device.
#include "backend/cuda/host/on_device.h"

#include "backend/cpu/linear_definition.h"

namespace lathe::backend::cuda {
namespace {

using cpu::Compute;
using cpu::Layout;
using cpu::LinearData;
using cpu::LinearProblem;

bool gates(const LinearProblem& p) {
  return p.activation >= cpu::Activation::silu_gate && p.activation <= cpu::Activation::gelu_tanh_gate;
}

int32_t format_of(Layout layout) {
  return layout == Layout::f32_panel ? LATHE_CUDA_F32 : layout == Layout::f16_panel ? LATHE_CUDA_F16 : LATHE_CUDA_BF16;
}
size_t element_of(int32_t format) {
  return format == LATHE_CUDA_F32 ? sizeof(float) : sizeof(uint16_t);
}

bool is_plain(Layout layout) {
  return layout == Layout::f32_panel || layout == Layout::f16_panel || layout == Layout::bf16_panel;
}

// A problem in floats whose weights are plain; both matrices of a gate are of one format.
bool decodes(const LinearProblem& p) {
  for (const Layout layout : p.layouts) {
    if (!is_plain(layout) || (gates(p) && layout != p.layouts[0])) return false;
  }
  return !cpu::is_integer(p.compute);
}

bool prefills(const LinearProblem& p) {
  const bool bf16 = p.compute == Compute::bf16, f16 = p.compute == Compute::f16;
  if ((!bf16 && !f16) || p.norm != cpu::Norm::none || gates(p) || p.columns % 32 != 0) return false;
  return std::all_of(p.layouts.begin(), p.layouts.end(),
                     [&](Layout layout) { return layout == (bf16 ? Layout::bf16_panel : Layout::f16_panel); });
}

// Every problem of the file that `taken` takes, computed by `run`, against the definition; returns how many.
template <class Run>
int compare_all(bool (*taken)(const LinearProblem&), Run run) {
  int problems = 0;
  for (const std::string& line : cpu::case_lines()) {
    if (line.starts_with("bench")) continue;
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      if (!taken(problem)) continue;
      SCOPED_TRACE(problem.text);
      const LinearData linear(problem);
      cpu::compare(linear, cpu::expect(linear), run(linear), problem.tokens);
      ++problems;
      if (testing::Test::HasFatalFailure()) return problems;
    }
  }
  return problems;
}

TEST_F(OnDevice, MemoryIsCopiedClearedAndRefused) {
  good(api->self_test(0, &message));
  std::vector<uint32_t> values(100'003);
  for (size_t i = 0; i < values.size(); ++i) values[i] = uint32_t(i * 2654435761u);
  uint32_t* a = upload(values);
  uint32_t* b = upload(std::vector<uint32_t>(values.size(), 1));
  EXPECT_EQ(download(a, values.size()), values);
  good(api->copy_within(stream, b, a, values.size() * sizeof(uint32_t), &message));
  EXPECT_EQ(download(b, values.size()), values);
  good(api->clear(stream, a + 1, 8, &message));
  EXPECT_EQ(download(a, 4), (std::vector<uint32_t>{values[0], 0, 0, values[3]}));
  void* memory = &values;
  EXPECT_EQ(api->allocate(0, uint64_t{1} << 50, &memory, &message), LATHE_CUDA_OUT_OF_MEMORY);
  EXPECT_EQ(memory, nullptr);
  EXPECT_EQ(download(b, values.size()), values);  // what was there is there, and work goes on
  good(api->self_test(0, &message));
  LatheCudaStream* other = nullptr;
  EXPECT_EQ(api->create_stream(1000, &other, &message), LATHE_CUDA_BAD_ARGUMENT);
}

TEST_F(OnDevice, LinearDecodeEqualsTheDefinition) {
  const int problems = compare_all(decodes, [&](const LinearData& linear) {
    const LinearProblem& p = linear.problem;
    LatheCudaLinearDecode call = {};
    call.x = upload(linear.x);
    if (p.norm != cpu::Norm::none) call.norm_scale = upload(linear.norm_scale);
    call.norm_bias = upload(linear.norm_bias);
    call.residual = upload(linear.residual);
    call.y = upload(std::vector<float>(size_t(p.tokens * linear.outputs)));
    call.tokens = int32_t(p.tokens);
    call.columns = int32_t(p.columns);
    call.y_stride = int32_t(linear.outputs);
    call.norm = int32_t(p.norm);
    call.rounding = p.compute == Compute::f16    ? LATHE_CUDA_ROUND_F16
                    : p.compute == Compute::bf16 ? LATHE_CUDA_ROUND_BF16
                                                 : LATHE_CUDA_ROUND_NONE;
    call.function = int32_t(p.activation);
    call.epsilon = LinearData::kEpsilon;
    for (size_t part = 0; part < (linear.gated() ? 1 : linear.sources.size()); ++part) {
      call.format = format_of(p.layouts[part]);
      call.weights = upload_weights(*linear.sources[part], element_of(call.format));
      call.bias = p.bias ? upload(linear.biases[part]) : nullptr;
      if (linear.gated()) call.gate = upload_weights(*linear.sources[1], element_of(call.format));
      if (linear.gated() && p.bias) call.gate_bias = upload(linear.biases[1]);
      call.rows = int32_t(p.rows[part]);
      good(api->linear_decode(stream, &call, &message));
      call.y_first += call.rows;
    }
    const std::vector<float> found = download(call.y, size_t(p.tokens * linear.outputs));
    release_all();
    return found;
  });
  EXPECT_GE(problems, 100);
}

TEST_F(OnDevice, LinearPrefillEqualsTheDefinition) {
  const int problems = compare_all(prefills, [&](const LinearData& linear) {
    const LinearProblem& p = linear.problem;
    const bool bf16 = p.compute == Compute::bf16;
    std::vector<uint16_t> narrow;
    for (const float x : linear.x) narrow.push_back(bf16 ? f32_to_bf16(x) : f32_to_f16(x));
    LatheCudaLinearPrefill call = {};
    call.x = upload(narrow);
    call.residual = upload(linear.residual);
    call.y = upload(std::vector<float>(size_t(p.tokens * linear.outputs)));
    call.tokens = int32_t(p.tokens);
    call.columns = int32_t(p.columns);
    call.y_stride = int32_t(linear.outputs);
    call.format = bf16 ? LATHE_CUDA_BF16 : LATHE_CUDA_F16;
    call.function = int32_t(p.activation);
    for (size_t part = 0; part < linear.sources.size(); ++part) {
      call.weights = upload_weights(*linear.sources[part], sizeof(uint16_t));
      call.bias = p.bias ? upload(linear.biases[part]) : nullptr;
      call.rows = int32_t(p.rows[part]);
      good(api->linear_prefill(stream, &call, &message));
      call.y_first += call.rows;
    }
    const std::vector<float> found = download(call.y, size_t(p.tokens * linear.outputs));
    release_all();
    return found;
  });
  EXPECT_GE(problems, 10);
}

}  // namespace
}  // namespace lathe::backend::cuda
