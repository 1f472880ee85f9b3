// Any bytes as a manifest, as a header and as a receipt: success or Error. The hashes in front of them would
// stop a fuzzer, not an attacker, so they are left out here.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "plan/engine_header.h"
#include "plan/manifest.h"

namespace {

template <class Body>
void attempt(Body&& body) {
  try {
    body();
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  attempt([&] {
    // Constants of graphs are views: there is something to view.
    static const std::vector<std::byte> weights(size_t{1} << 20);
    const lathe::plan::Manifest manifest = lathe::plan::read_manifest(bytes, {weights, nullptr});
    lathe::plan::print(manifest.plan);
    for (const auto& graph : manifest.graphs) lathe::plan::print(*graph.model);
    lathe::plan::check(manifest);
  });
  attempt([&] { lathe::plan::read_receipt_bytes(bytes); });
  attempt([&] { lathe::plan::read_header(bytes, size); });
  return 0;
}
