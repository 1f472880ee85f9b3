#include "bench/graph_speed.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "bench/bench.h"

namespace lathe::bench {

GraphResult run(runtime::GraphSession& session, const runtime::GraphSession::Data& inputs,
                const GraphBenchOptions& options) {
  if (options.repeats < 1) fail(ErrorCode::usage, "--repeat {}: expected 1 or more", options.repeats);
  using Clock = std::chrono::steady_clock;
  const auto call = [&] {
    const auto start = Clock::now();
    session.run(inputs);
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  };
  GraphResult result;
  result.first_ms = call();
  for (int i = 1; i < options.warmup; ++i) call();
  double total = 0;
  while (int(result.samples.size()) < options.repeats || (total < options.min_ms && result.samples.size() < 10000)) {
    result.samples.push_back(call());
    total += result.samples.back();
  }
  result.median = median_of(result.samples);
  return result;
}

std::vector<ProfileLine> summarise(const std::vector<runtime::InstructionTime>& times) {
  std::map<std::pair<std::string, std::string>, ProfileLine> lines;
  for (const runtime::InstructionTime& time : times) {
    ProfileLine& line = lines[{time.op, time.kernel}];
    line.op = time.op;
    line.kernel = time.kernel;
    ++line.count;
    line.ms += time.ms;
  }
  std::vector<ProfileLine> result;
  for (auto& [key, line] : lines) result.push_back(std::move(line));
  std::sort(result.begin(), result.end(), [](const ProfileLine& a, const ProfileLine& b) { return a.ms > b.ms; });
  return result;
}

tensor::Tensor sample_input(const std::string& name, const op::TypeInfo& type) {
  const auto dims = tensor::to_dims(type.shape);
  if (!type.is_plain() || !dims || type.dtype == tensor::DType::string) {
    fail(ErrorCode::unsupported, "input \"{}\" {}: say its lengths with --shape or give it with --input", name,
         op::to_string(type));
  }
  tensor::Tensor tensor(type.dtype, *dims);
  uint64_t state = 88172645463325252u;
  for (int64_t i = 0; i < tensor.size(); ++i) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    const double uniform = double(state >> 11) * 0x1p-53;
    tensor::set_element(tensor, i, tensor::is_float(type.dtype) ? 2 * uniform - 1 : 1);
  }
  return tensor;
}

}  // namespace lathe::bench
