// Bytes as an ONNX model, for the fuzzer and the test of mutants: imported, compiled, run on made-up inputs, and run on
// the reference executor.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "compiler/graph_build.h"
#include "frontend/onnx_import.h"
#include "opt/numeric_check.h"
#include "runtime/graph_session.h"

namespace lathe::verify {

constexpr int64_t kMaxInputElements = 4096;  // larger inputs only cost time

// A file that is nowhere in the file system.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const uint8_t> bytes) : file_(::memfd_create("model.onnx", 0)) {
    LATHE_CHECK(file_ >= 0 && ::write(file_, bytes.data(), bytes.size()) == ssize_t(bytes.size()), "memory file");
  }
  ~MemoryFile() { ::close(file_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return fmt::format("/proc/self/fd/{}", file_); }

 private:
  int file_;
};

struct BytesOutcome {
  bool imported = false;
  std::optional<std::map<std::string, op::Datum>> reference, compiled;  // what came out; nullopt: an error
  std::string reference_error, compiled_error;
};

// Throws only internal errors: bugs of ours.
inline BytesOutcome run_onnx_bytes(std::span<const uint8_t> bytes) {
  BytesOutcome outcome;
  const auto attempt = [](auto&& body, std::string& error) {
    try {
      return body();
    } catch (const Error& e) {
      if (e.code() == ErrorCode::internal) throw;
      error = e.what();
    }
    return std::optional<std::map<std::string, op::Datum>>();
  };
  std::string refusal;
  attempt(
      [&]() -> std::optional<std::map<std::string, op::Datum>> {
        const MemoryFile file(bytes);
        const ir::Graph graph = frontend::import_onnx(io::OnnxFile::open(file.path()));
        outcome.imported = true;
        std::map<std::string, op::Datum> inputs;
        for (auto& [name, tensor] : opt::generate_inputs(graph)) {
          if (tensor.size() > kMaxInputElements) return std::nullopt;
          inputs.emplace(name, tensor);
        }
        ir::EvaluateOptions options;
        options.limits.max_iterations = 1000;
        outcome.reference = attempt([&] { return std::optional(ir::evaluate_data(graph, inputs, options)); },
                                    outcome.reference_error);
        outcome.compiled = attempt(
            [&] {
              runtime::GraphSession session(compiler::build_graph(graph),
                                            {.threads = 1, .isa = {}, .limits = options.limits});
              auto results = session.run(inputs);
              for (auto& [name, datum] : results) {  // which are views of the session
                if (datum.is_tensor()) datum = tensor::Tensor(datum.tensor().dtype(), datum.tensor().dims());
              }
              return std::optional(results);
            },
            outcome.compiled_error);
        return std::nullopt;
      },
      refusal);
  return outcome;
}

}  // namespace lathe::verify
