// Products with block-quantised weights by the library on a GPU: the lines of tests/op/linear.cases, and more in 16-bit
// floats.
#include "backend/cuda/host/on_device.h"
#include "backend/cuda/kernels/blocks_testing.h"

namespace lathe::backend::cuda {
namespace {

using cpu::Compute;
using cpu::LinearData;
using cpu::LinearProblem;

int32_t format_of(cpu::Layout layout) {
  switch (layout) {
    case cpu::Layout::q4_0_panel:
      return LATHE_CUDA_Q4_0;
    case cpu::Layout::q4_1_panel:
      return LATHE_CUDA_Q4_1;
    case cpu::Layout::q5_0_panel:
      return LATHE_CUDA_Q5_0;
    case cpu::Layout::q5_1_panel:
      return LATHE_CUDA_Q5_1;
    case cpu::Layout::q8_0_panel:
      return LATHE_CUDA_Q8_0;
    case cpu::Layout::q4_k_panel:
      return LATHE_CUDA_Q4_K;
    case cpu::Layout::q5_k_panel:
      return LATHE_CUDA_Q5_K;
    default:
      return LATHE_CUDA_Q6_K;
  }
}

int32_t rounding_of(Compute compute) {
  switch (compute) {
    case Compute::f16:
      return LATHE_CUDA_ROUND_F16;
    case Compute::bf16:
      return LATHE_CUDA_ROUND_BF16;
    case Compute::i8:
      return LATHE_CUDA_ROUND_I8;
    case Compute::i16:
      return LATHE_CUDA_ROUND_I16;
    default:
      return LATHE_CUDA_ROUND_NONE;
  }
}

// Every problem of blocks that `taken` takes, computed by `run`, against the definition; returns how many.
template <class Taken, class Run>
int compare_all(Taken taken, Run run) {
  std::vector<std::string> lines = cpu::case_lines();
  lines.push_back("parts=q4_0,q4_1,q5_0,q5_1,q8_0 compute=f16,bf16 rows=137 columns=32,224,576 tokens=70 norm=rms");
  lines.push_back("parts=q4_k,q5_k,q6_k compute=f16,bf16 rows=137 columns=256,1536 tokens=70 residual=1 bias=1");
  lines.push_back("parts=q4_1,q6_k compute=i16,f16 rows=4099 columns=4096 tokens=131");
  int problems = 0;
  for (const std::string& line : lines) {
    if (line.starts_with("bench")) continue;
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      if (!is_of_blocks(problem) || !taken(problem)) continue;
      SCOPED_TRACE(problem.text);
      const LinearData linear(problem);
      cpu::compare(linear, cpu::expect(linear), run(linear), problem.tokens);
      ++problems;
      if (testing::Test::HasFatalFailure()) return problems;
    }
  }
  return problems;
}

TEST_F(OnDevice, LinearDecodeBlocksEqualsTheDefinition) {
  const int problems =
      compare_all([](const LinearProblem&) { return true; },
                  [&](const LinearData& linear) {
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
                    call.rounding = rounding_of(p.compute);
                    call.function = int32_t(p.activation);
                    call.epsilon = LinearData::kEpsilon;
                    for (size_t part = 0; part < (linear.gated() ? 1 : linear.sources.size()); ++part) {
                      call.format = format_of(p.layouts[part]);
                      call.weights = upload(packed_weights(*linear.sources[part], "weights").elements());
                      call.bias = p.bias ? upload(linear.biases[part]) : nullptr;
                      if (linear.gated()) call.gate = upload(packed_weights(*linear.sources[1], "gate").elements());
                      if (linear.gated() && p.bias) call.gate_bias = upload(linear.biases[1]);
                      call.rows = int32_t(p.rows[part]);
                      good(api->linear_decode_blocks(stream, &call, &message));
                      call.y_first += call.rows;
                    }
                    const std::vector<float> found = download(call.y, size_t(p.tokens * linear.outputs));
                    release_all();
                    return found;
                  });
  EXPECT_GE(problems, 500);
}

TEST_F(OnDevice, LinearPrefillBlocksEqualsTheDefinition) {
  const auto taken = [](const LinearProblem& p) { return !gates(p) && p.compute != Compute::f32; };
  const int problems = compare_all(taken, [&](const LinearData& linear) {
    const LinearProblem& p = linear.problem;
    const size_t count = size_t(p.tokens * p.columns);
    LatheCudaRoundActivations rounding = {};
    rounding.x = upload(linear.x);
    if (p.norm != cpu::Norm::none) rounding.norm_scale = upload(linear.norm_scale);
    rounding.norm_bias = upload(linear.norm_bias);
    rounding.out = upload(std::vector<uint16_t>(count));
    if (cpu::is_integer(p.compute)) rounding.blocks = upload(std::vector<float>(count / 16));
    rounding.tokens = int32_t(p.tokens);
    rounding.columns = int32_t(p.columns);
    rounding.norm = int32_t(p.norm);
    rounding.rounding = rounding_of(p.compute);
    rounding.epsilon = LinearData::kEpsilon;
    good(api->round_activations(stream, &rounding, &message));
    LatheCudaLinearPrefillBlocks call = {};
    call.x = rounding.out;
    call.x_blocks = rounding.blocks;
    call.residual = upload(linear.residual);
    call.y = upload(std::vector<float>(size_t(p.tokens * linear.outputs)));
    call.tokens = rounding.tokens;
    call.columns = rounding.columns;
    call.y_stride = int32_t(linear.outputs);
    call.rounding = rounding.rounding;
    call.function = int32_t(p.activation);
    for (size_t part = 0; part < linear.sources.size(); ++part) {
      call.format = format_of(p.layouts[part]);
      call.weights = upload(packed_weights(*linear.sources[part], "weights").elements());
      call.bias = p.bias ? upload(linear.biases[part]) : nullptr;
      call.rows = int32_t(p.rows[part]);
      good(api->linear_prefill_blocks(stream, &call, &message));
      call.y_first += call.rows;
    }
    const std::vector<float> found = download(call.y, size_t(p.tokens * linear.outputs));
    release_all();
    return found;
  });
  EXPECT_GE(problems, 300);
}

TEST_F(OnDevice, RowsOfBlocksAreLookedUp) {
  for (const char* line :
       {"parts=q4_0,q4_1,q5_0,q5_1,q8_0 rows=1000 columns=576", "parts=q4_k,q5_k,q6_k rows=99 columns=768"}) {
    for (const LinearProblem& problem : cpu::expand_line(line)) {
      SCOPED_TRACE(problem.text);
      const auto source = cpu::random_weights(problem.layouts[0], problem.rows[0], problem.columns, 3);
      const std::vector<int64_t> wanted = {problem.rows[0] - 1, 0, 7, 8, 42};
      LatheCudaLookUpBlocks call = {};
      call.rows = upload(wanted);
      call.table = upload(packed_weights(*source, "table").elements());
      call.y = upload(std::vector<float>(wanted.size() * size_t(problem.columns)));
      call.count = int32_t(wanted.size());
      call.columns = int32_t(problem.columns);
      call.format = format_of(problem.layouts[0]);
      good(api->look_up_blocks(stream, &call, &message));
      const auto found = download(call.y, wanted.size() * size_t(problem.columns));
      std::vector<float> expected(size_t(problem.columns));
      for (size_t i = 0; i < wanted.size(); ++i) {
        source->read_rows_f32(wanted[i], 1, expected);
        for (size_t c = 0; c < expected.size(); ++c) ASSERT_EQ(found[i * expected.size() + c], expected[c]) << c;
      }
      release_all();
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cuda
