// Graph text from bytes: a graph that verifies and prints to a fixpoint, or an Error that is not our bug.
#include "base/error.h"
#include "ir/graph.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  try {
    const ir::Graph graph = ir::parse({reinterpret_cast<const char*>(data), size}, {});
    ir::verify(graph);
    const std::string text = ir::print(graph);
    if (ir::print(ir::parse(text, {})) != text) __builtin_trap();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
