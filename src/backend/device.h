// The devices that plans run on, and what compiler, runtime and the verbs need to know of each. Nothing above
// backend/ names one otherwise than by the name a plan or the command line gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/kv_shape.h"
#include "backend/packed_layout.h"
#include "base/team.h"

namespace lathe::backend {

struct Kernel;
struct GraphKernel;
struct GraphLayout;

// Something a device may have or lack on this machine.
struct Capability {
  std::string isa;  // the instruction set
  bool found = false;
  std::string detail;      // what was found, or why not
  std::string needed_for;  // what runs with it
  std::string remedy;      // where nothing can be done, or needs to be: empty
};

struct Device {
  std::string_view name;  // "cpu": what plans and --device call it
  std::string_view description;
  int64_t kv_block = 0;  // positions of a block of the cache

  // Best first for each operator. The reference, which takes what these refuse, is not among them.
  std::span<const Kernel* const> kernels;
  std::span<const PackedLayout* const> layouts;
  // The same for graphs of any kind (graph_kernel.h).
  std::span<const GraphKernel* const> graph_kernels = {};
  std::span<const GraphLayout* const> graph_layouts = {};

  // One for each of its instruction sets; each set includes those before it.
  std::vector<Capability> (*capabilities)();
  // The number of an instruction set, for Settings: the one called `wish`, or the best of this machine where that is
  // empty. Throws usage for a name that is none, unsupported for what this machine lacks.
  int (*choose_isa)(std::string_view wish);
  // Host threads that run its steps; 0: as many as it makes use of. Throws resource.
  std::unique_ptr<Team> (*make_team)(int threads);
  // Memory its kernels work in: zero, resident when touched, given back with the last pointer. `booked`: the system
  // is to refuse now what it cannot give, not when it is touched. Throws resource. Null for devices with memory of
  // their own, which sessions get opened (accelerator.h).
  std::shared_ptr<std::byte> (*allocate)(size_t bytes, bool booked);
  // Bytes of one block of the cache of one layer. Throws unsupported for types and sizes it does not keep.
  size_t (*kv_block_size)(const KvShape& shape);

  // Weights in blocks that no layout holds become this type when an engine is built. Where `packed_tables` is set,
  // those that lathe.Embed looks up are packed as those of products are.
  tensor::DType widened = tensor::DType::f32;
  bool packed_tables = false;
  // What activations in front of block-quantised weights are rounded to without a wish, as plans name it.
  std::string_view block_compute = "i16";

  bool host_memory() const { return allocate != nullptr; }
};

std::span<const Device* const> devices();
const Device* find_device(std::string_view name);  // nullptr where there is none
// Throws unsupported, naming those there are.
const Device& get_device(std::string_view name);

// What holds such weights without loss, or nullptr: the caller converts them to plain f32 first, and says so.
const PackedLayout* find_layout(const Device& device, tensor::DType dtype, tensor::Encoding encoding);
// By the name an engine stores, of any device; nullptr for names that are none ("plain" is none).
const PackedLayout* find_layout(std::string_view name);

// Of an instruction set that a session chose.
std::string isa_name(const Device& device, int isa);

}  // namespace lathe::backend
