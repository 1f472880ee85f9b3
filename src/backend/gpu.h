// GPUs as the verbs see them: what this machine has of CUDA, and why --device cuda is refused. CUDA need not be there;
// all of it is opened at run time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace lathe::backend {

// Where things are looked for; what the environment says is looked up by cli/ alone.
struct GpuPlaces {
  std::filesystem::path program_folder;  // liblathe_cuda.so is there, or in ../lib
  std::string library;                   // LATHE_CUDA_LIBRARY: its path, instead of those; empty: not set
  std::optional<std::string> visible;    // CUDA_VISIBLE_DEVICES
  // Of cuBLASLt and cuDNN, in this order; an empty one stands for where the loader looks.
  std::vector<std::filesystem::path> library_folders = {"", "/usr/local/cuda/lib64"};
  std::filesystem::path pci = "/sys/bus/pci/devices";
};

// Something that is needed for GPUs, or useful.
struct GpuPart {
  std::string name;
  bool found = false;
  bool required = true;
  ErrorCode code = ErrorCode::resource;  // of a refusal because of it
  std::string detail;                    // what was found, or why not
  std::string needed_for;
  std::string remedy;  // a command; where nothing can be done, or needs to be: empty
};

struct Gpu {
  int index = 0;  // cuda:index
  std::string name;
  std::string compute_capability;  // "9.0"
  int multiprocessors = 0;
  uint64_t memory_total_bytes = 0;
  uint64_t memory_free_bytes = 0;
  bool usable = false;  // kernels run on it: the self test passed
  std::string problem;  // why not
  std::string remedy;

  template <class V>
  void visit_fields(V& v) {
    v("index", index);
    v("name", name);
    v("compute_capability", compute_capability);
    v("multiprocessors", multiprocessors);
    v("memory_total_bytes", memory_total_bytes);
    v("memory_free_bytes", memory_free_bytes);
    v("usable", usable);
    v("problem", problem);
    v("remedy", remedy);
  }
};

// Versions are CUDA's ("13.0"); what could not be found out is empty.
struct GpuReport {
  std::string abi_hash;  // what this program expects of the library
  std::string library;   // its path
  std::string library_abi_hash;
  std::string architectures;    // what its kernels were compiled for
  std::string runtime_version;  // of the toolkit it was built with
  std::string driver_version;   // the newest that the driver runs
  std::vector<Gpu> devices;

  template <class V>
  void visit_fields(V& v) {
    v("abi_hash", abi_hash);
    v("library", library);
    v("library_abi_hash", library_abi_hash);
    v("architectures", architectures);
    v("runtime_version", runtime_version);
    v("driver_version", driver_version);
    v("devices", devices);
  }

  std::vector<GpuPart> parts;  // as doctor lists them
};

// `optional`: also those that nothing needs. Where there is a GPU, a kernel is launched on it.
GpuReport look_at_gpus(const GpuPlaces& places, bool optional = true);

// "cuda" is 0, "cuda:3" is 3; nothing for names of other devices. Throws usage for what stands behind cuda and is no
// number.
std::optional<int> gpu_index(std::string_view device);

// Throws what keeps that GPU from running models here, with what mends it: resource where the machine lacks something,
// unsupported where this build does.
void check_gpu(int index, const GpuPlaces& places);
// The same, and unsupported where nothing does: `what` ("graphs and pictures") has no kernels there.
[[noreturn]] void refuse_gpu(int index, const GpuPlaces& places, std::string_view what);

}  // namespace lathe::backend
