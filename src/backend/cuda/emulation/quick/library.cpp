// A library that stands for liblathe_cuda.so and one GPU: the launches are the real ones (library/*.cu), devices,
// memory and streams are here. For tests, which open it by LATHE_CUDA_LIBRARY through the same host code.
//
// The environment says how much memory the GPU has (LATHE_EMULATED_MEMORY, in bytes), and after how many kernels it is
// lost (LATHE_EMULATED_KERNELS).
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "backend/cuda/emulation/memory.h"
#include "backend/cuda/kernels/self_test.h"
#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {
namespace {

constexpr uint64_t kSharedPerBlock = 227 << 10;
constexpr uint64_t kMemory = uint64_t{1} << 30;
constexpr size_t kAlignment = 256;  // of cudaMalloc

uint64_t number_of(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

struct Allocation {
  std::string name;
  size_t bytes = 0;
  std::vector<emulated::Shadow> shadow;  // empty: no account
};

// What the process has of the GPU; calls come from any thread.
struct State {
  std::mutex mutex;
  std::map<void*, Allocation> memory;
  std::set<LatheCudaStream*> streams;
  uint64_t used = 0;
  uint64_t kernels = 0;
  int allocations = 0;
  bool lost = false;
};
State& state() {
  static State the;
  return the;
}

int32_t bad(LatheCudaMessage* message, const char* what) {
  return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s", what);
}

int32_t lost(LatheCudaMessage* message) {
  return refuse(message, LATHE_CUDA_DEVICE_LOST, "the emulated GPU is lost");
}

int32_t describe(LatheCudaSystem* system, LatheCudaMessage*) noexcept {
  *system = {13000, 13000, 1};
  return LATHE_CUDA_OK;
}

int32_t describe_device(int32_t device, LatheCudaDevice* properties, LatheCudaMessage* message) noexcept {
  *properties = {};
  if (device != 0) return bad(message, "there is one emulated GPU");
  const std::lock_guard lock(state().mutex);
  snprintf(properties->name, sizeof properties->name, "Emulated GPU");
  properties->major = 9;
  properties->multiprocessors = 1;
  properties->memory_total = number_of("LATHE_EMULATED_MEMORY", kMemory);
  properties->memory_free = properties->memory_total - std::min(properties->memory_total, state().used);
  properties->shared_per_block = kSharedPerBlock;
  return LATHE_CUDA_OK;
}

// Whether [at, at + bytes) is memory of the device.
Allocation* allocation_of(const void* at, uint64_t bytes) {
  auto it = state().memory.upper_bound(const_cast<void*>(at));
  if (it == state().memory.begin()) return nullptr;
  --it;
  const size_t from = size_t(static_cast<const char*>(at) - static_cast<const char*>(it->first));
  return from <= it->second.bytes && bytes <= it->second.bytes - from ? &it->second : nullptr;
}

void note_written(void* at, uint64_t bytes) {
  Allocation* allocation = allocation_of(at, bytes);
  if (!allocation || allocation->shadow.empty()) return;
  const emulated::Known known = emulated::known_at(at);
  const size_t from = size_t(static_cast<unsigned char*>(at) - known.data);
  for (size_t i = from; i < from + bytes; ++i) known.shadow[i].written = true;
}

// All that a stream was given; the first failure is the GPU's end.
int32_t run_work(LatheCudaStream& stream, LatheCudaMessage* message) {
  std::vector<std::function<int32_t(LatheCudaMessage*)>> work;
  work.swap(stream.work);
  for (const auto& item : work) {
    if (state().lost) return lost(message);
    const int32_t status = item(message);
    if (status == LATHE_CUDA_OK) continue;
    state().lost = true;
    return status;
  }
  return state().lost ? lost(message) : int32_t(LATHE_CUDA_OK);
}

int32_t allocate(int32_t device, uint64_t bytes, void** memory, LatheCudaMessage* message) noexcept {
  if (device != 0 || !memory || bytes == 0) return bad(message, "allocate: nothing to allocate");
  *memory = nullptr;
  const std::lock_guard lock(state().mutex);
  if (state().lost) return lost(message);
  const uint64_t total = number_of("LATHE_EMULATED_MEMORY", kMemory);
  const uint64_t free = total - std::min(total, state().used);
  void* const fresh =
      bytes <= free ? std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment) : nullptr;
  if (!fresh) {
    return refuse(message, LATHE_CUDA_OUT_OF_MEMORY, "no memory for %llu bytes: %llu of %llu are free",
                  static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(free),
                  static_cast<unsigned long long>(total));
  }
  std::memset(fresh, 0xff, bytes);  // not a number, whatever it is read as
  Allocation& allocation = state().memory[fresh];
  allocation.name = "allocation " + std::to_string(++state().allocations);
  allocation.bytes = bytes;
#if defined(LATHE_EMULATION_CHECKED)
  allocation.shadow.resize(bytes);
#endif
  emulated::add_known({static_cast<unsigned char*>(fresh), bytes, &allocation.name,
                       allocation.shadow.empty() ? nullptr : allocation.shadow.data()});
  state().used += bytes;
  *memory = fresh;
  return LATHE_CUDA_OK;
}

// Waits for all work first, as cudaFree does.
int32_t release(int32_t, void* memory, LatheCudaMessage* message) noexcept {
  if (!memory) return LATHE_CUDA_OK;
  const std::lock_guard lock(state().mutex);
  for (LatheCudaStream* stream : state().streams) run_work(*stream, nullptr);
  const auto it = state().memory.find(memory);
  if (it == state().memory.end()) return bad(message, "release: memory that was not allocated");
  state().used -= it->second.bytes;
  emulated::remove_known(memory);
  state().memory.erase(it);
  std::free(memory);
  return LATHE_CUDA_OK;
}

int32_t allocate_host(int32_t, uint64_t bytes, void** memory, LatheCudaMessage* message) noexcept {
  *memory = std::malloc(bytes);
  return *memory ? int32_t(LATHE_CUDA_OK) : refuse(message, LATHE_CUDA_OUT_OF_MEMORY, "no memory of the host");
}
int32_t release_host(int32_t, void* memory, LatheCudaMessage*) noexcept {
  std::free(memory);
  return LATHE_CUDA_OK;
}

int32_t create_stream(int32_t device, LatheCudaStream** stream, LatheCudaMessage* message) noexcept {
  if (device != 0 || !stream) return bad(message, "create_stream: no such device");
  const std::lock_guard lock(state().mutex);
  if (state().lost) return lost(message);
  *stream = new LatheCudaStream{device, kSharedPerBlock, {}};
  state().streams.insert(*stream);
  return LATHE_CUDA_OK;
}

int32_t destroy_stream(LatheCudaStream* stream, LatheCudaMessage*) noexcept {
  const std::lock_guard lock(state().mutex);
  state().streams.erase(stream);
  delete stream;
  return LATHE_CUDA_OK;
}

int32_t synchronize(LatheCudaStream* stream, LatheCudaMessage* message) noexcept {
  if (!stream) return bad(message, "synchronize: null");
  const std::lock_guard lock(state().mutex);
  return run_work(*stream, message);
}

int32_t copy_in(LatheCudaStream* stream, void* to, const void* host, uint64_t bytes,
                LatheCudaMessage* message) noexcept {
  const std::lock_guard lock(state().mutex);
  if (!allocation_of(to, bytes)) return bad(message, "copy_in: not to memory of the device");
  stream->work.push_back([=](LatheCudaMessage*) {
    std::memcpy(to, host, bytes);
    note_written(to, bytes);
    return int32_t(LATHE_CUDA_OK);
  });
  return LATHE_CUDA_OK;
}
int32_t copy_out(LatheCudaStream* stream, void* host, const void* from, uint64_t bytes,
                 LatheCudaMessage* message) noexcept {
  const std::lock_guard lock(state().mutex);
  if (!allocation_of(from, bytes)) return bad(message, "copy_out: not from memory of the device");
  stream->work.push_back([=](LatheCudaMessage*) {
    std::memcpy(host, from, bytes);
    return int32_t(LATHE_CUDA_OK);
  });
  return LATHE_CUDA_OK;
}
int32_t copy_within(LatheCudaStream* stream, void* to, const void* from, uint64_t bytes,
                    LatheCudaMessage* message) noexcept {
  const std::lock_guard lock(state().mutex);
  if (!allocation_of(from, bytes) || !allocation_of(to, bytes)) return bad(message, "copy_within: not of the device");
  stream->work.push_back([=](LatheCudaMessage*) {
    std::memmove(to, from, bytes);
    note_written(to, bytes);
    return int32_t(LATHE_CUDA_OK);
  });
  return LATHE_CUDA_OK;
}
int32_t clear(LatheCudaStream* stream, void* memory, uint64_t bytes, LatheCudaMessage* message) noexcept {
  const std::lock_guard lock(state().mutex);
  if (!allocation_of(memory, bytes)) return bad(message, "clear: not memory of the device");
  stream->work.push_back([=](LatheCudaMessage*) {
    std::memset(memory, 0, bytes);
    note_written(memory, bytes);
    return int32_t(LATHE_CUDA_OK);
  });
  return LATHE_CUDA_OK;
}

constexpr LatheCudaApi kApi = {
    sizeof(LatheCudaApi),
    "sm_90, emulated",
    describe,
    describe_device,
    run_self_test,
    allocate,
    release,
    allocate_host,
    release_host,
    create_stream,
    destroy_stream,
    synchronize,
    copy_in,
    copy_out,
    copy_within,
    clear,
    launch_linear_decode,
    launch_linear_prefill,
    launch_paged_attention,
    launch_normalise,
    launch_combine,
    launch_place_columns,
    launch_look_up,
    launch_rotary_table,
    launch_linear_decode_blocks,
    launch_round_activations,
    launch_linear_prefill_blocks,
    launch_look_up_blocks,
    launch_sample,
};

}  // namespace

int32_t run_kernel(const char* name, const dim3& grid, int threads, size_t shared, const std::function<void()>& body,
                   LatheCudaMessage* message) noexcept {
  if (++state().kernels > number_of("LATHE_EMULATED_KERNELS", UINT64_MAX)) return lost(message);
  try {
    emulated::launch({name, grid, {unsigned(threads)}, shared, unsigned(state().kernels)}, body);
    return LATHE_CUDA_OK;
  } catch (const std::exception& fault) {
    return refuse(message, LATHE_CUDA_DEVICE_LOST, "%s", fault.what());
  }
}

int32_t run_self_test(int32_t, LatheCudaMessage* message) noexcept {
  constexpr int kCount = 300;
  emulated::Buffer<uint32_t> out("out", kCount);
  const std::lock_guard lock(state().mutex);
  const int32_t status = run_kernel(
      "self_test", {(kCount - 1) / kSelfTestThreads + 1}, kSelfTestThreads, 0,
      [&] {
        self_test({out, kCount});
      },
      message);
  if (status != LATHE_CUDA_OK) return status;
  for (int i = 0; i < kCount; ++i) {
    if (out.elements()[size_t(i)] != self_test_value(i)) return LATHE_CUDA_WRONG_RESULT;
  }
  return LATHE_CUDA_OK;
}

}  // namespace lathe::backend::cuda

#define LATHE_CUDA_EXPORT extern "C" __attribute__((visibility("default")))

LATHE_CUDA_EXPORT const char* lathe_cuda_abi_hash(void) {
  return LATHE_CUDA_ABI_HASH;
}

LATHE_CUDA_EXPORT int32_t lathe_cuda_open(const char* abi_hash, const LatheCudaApi** api, LatheCudaMessage* message) {
  using lathe::backend::cuda::refuse;
  *api = nullptr;
  if (std::strcmp(abi_hash, LATHE_CUDA_ABI_HASH) != 0) return refuse(message, LATHE_CUDA_OTHER_BUILD, "another ABI");
  *api = &lathe::backend::cuda::kApi;
  return LATHE_CUDA_OK;
}
