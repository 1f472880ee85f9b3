// The CPU as a device.
#include "backend/device.h"

#include <sys/mman.h>

#include <array>

#include "backend/cpu/attention.h"
#include "backend/cpu/graph_layouts.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/panel_layouts.h"
#include "backend/graph_kernel.h"
#include "backend/kernel.h"
#include "base/error.h"
#include "base/memory.h"

namespace lathe::backend {

// Generated from the file names in backend/cpu/ops.
#include "backend_cpu_ops_declarations.inc"
// From those in backend/cpu/graph.
#include "backend_cpu_graph_declarations.inc"

namespace {

using cpu::Isa;

template <class K, size_t N>
std::vector<const K*> table_of(const K& (*const (&getters)[N])()) {
  std::vector<const K*> table;
  for (const auto getter : getters) table.push_back(&getter());
  return table;
}

std::span<const Kernel* const> kernels() {
  static constexpr const Kernel& (*kGetters[])() = {
#include "backend_cpu_ops_entries.inc"
  };
  static const auto kTable = table_of(kGetters);
  return kTable;
}

std::span<const GraphKernel* const> graph_kernels() {
  static constexpr const GraphKernel& (*kGetters[])() = {
#include "backend_cpu_graph_entries.inc"
  };
  static const auto kTable = table_of(kGetters);
  return kTable;
}

Capability capability(Isa isa, std::string needed_for, std::string remedy) {
  const bool found = cpu::has_isa(isa);
  const std::string extra = found && isa == Isa::avx512 && cpu::has_avx512_bf16() ? ", with bf16 products" : "";
  return {std::string(to_string(isa)), found, (found ? "this CPU runs them" : "not on this CPU") + extra,
          std::move(needed_for), found ? "" : std::move(remedy)};
}

// In the order of Isa.
std::vector<Capability> capabilities() {
  return {capability(Isa::avx2, "any model: there are no kernels for less",
                     "in a virtual machine pass the host's CPU through (qemu: -cpu host)"),
          capability(Isa::avx512, "about twice the speed where weights fit the caches", ""),
          capability(Isa::amx, "products of int8 and bf16 several times as fast", "")};
}

int choose_isa(std::string_view wish) {
  if (wish.empty()) return int(cpu::best_isa());
  const auto isa = cpu::find_isa(wish);
  if (!isa) fail(ErrorCode::usage, "isa \"{}\": expected avx2, avx512 or amx", wish);
  if (!cpu::has_isa(*isa)) fail(ErrorCode::unsupported, "this machine has no {}", wish);
  return int(*isa);
}

std::unique_ptr<Team> make_team(int threads) {
  return std::make_unique<Team>(threads > 0 ? threads : available_cpus());
}

std::shared_ptr<std::byte> allocate(size_t bytes, bool booked) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (booked ? 0 : MAP_NORESERVE);
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) fail(ErrorCode::resource, "no memory for {} bytes", bytes);
  if (booked) ::madvise(memory, bytes, MADV_HUGEPAGE);  // all of it will be touched; a hint
  return {static_cast<std::byte*>(memory), [bytes](std::byte* begin) { ::munmap(begin, bytes); }};
}

}  // namespace

const Device& cpu_device() {
  static const Device device = {.name = "cpu",
                                .description = "x86-64 processors with AVX2 or better",
                                .kv_block = cpu::kKvBlock,
                                .kernels = kernels(),
                                .layouts = cpu::panel_layouts(),
                                .graph_kernels = graph_kernels(),
                                .graph_layouts = cpu::graph_layouts(),
                                .capabilities = capabilities,
                                .choose_isa = choose_isa,
                                .make_team = make_team,
                                .allocate = allocate,
                                .kv_block_size = cpu::kv_block_size};
  return device;
}

}  // namespace lathe::backend
