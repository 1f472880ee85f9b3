#include "backend/cuda/host/library.h"

#include <dlfcn.h>

#include "base/file.h"

namespace lathe::backend::cuda {
namespace {

constexpr const char* kFile = "liblathe_cuda.so";
constexpr const char* kBuild = "cmake --build --preset release --target lathe lathe_cuda, where nvcc of CUDA 13 is";

std::vector<std::filesystem::path> candidates(const GpuPlaces& places) {
  if (!places.library.empty()) return {places.library};
  return {places.program_folder / kFile, places.program_folder.parent_path() / "lib" / kFile};
}

std::string loader_error() {
  const char* text = ::dlerror();
  return text ? text : "the loader does not say why";
}

// Checks that both sides speak the same, and takes the table.
void take_api(void* handle, Library& library) {
  const auto hash = reinterpret_cast<LatheCudaAbiHash*>(::dlsym(handle, LATHE_CUDA_ABI_HASH_SYMBOL));
  const auto open = reinterpret_cast<LatheCudaOpen*>(::dlsym(handle, LATHE_CUDA_OPEN_SYMBOL));
  library.remedy = kBuild;
  if (!hash || !open) {
    library.problem = fmt::format("\"{}\" has no {}", library.path.string(),
                                  hash ? LATHE_CUDA_OPEN_SYMBOL : LATHE_CUDA_ABI_HASH_SYMBOL);
    return;
  }
  library.abi_hash = hash();
  if (library.abi_hash != abi_hash()) {
    library.problem = fmt::format("\"{}\" is of another build: expected ABI {}, found {}", library.path.string(),
                                  abi_hash(), library.abi_hash);
    return;
  }
  LatheCudaMessage message = {};
  const LatheCudaApi* api = nullptr;
  const int32_t status = open(abi_hash().data(), &api, &message);
  if (status != LATHE_CUDA_OK || !api || api->bytes != sizeof(LatheCudaApi)) {
    message.text[sizeof message.text - 1] = 0;
    library.problem = fmt::format("\"{}\" gave no table of functions: status {}{}{}", library.path.string(), status,
                                  message.text[0] ? ", " : "", message.text);
    return;
  }
  library.api = api;
  library.remedy.clear();
}

}  // namespace

std::string_view abi_hash() {
  return LATHE_CUDA_ABI_HASH;
}

std::string version_text(int version) {
  return version > 0 ? fmt::format("{}.{}", version / 1000, version % 1000 / 10) : "";
}

Library open_library(const GpuPlaces& places) {
  Library library;
  std::vector<std::string> tried;
  for (const std::filesystem::path& path : candidates(places)) {
    tried.push_back(fmt::format("\"{}\"", path.string()));
    if (file_kind(path) == FileKind::nothing) continue;
    library.path = path;
    // Never closed: CUDA's runtime in it leaves threads and exit handlers behind.
    void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
      library.problem = loader_error();
      library.remedy = kBuild;
    } else {
      take_api(handle, library);
    }
    return library;
  }
  library.problem = fmt::format("not found at {}; ABI {} is expected", fmt::join(tried, " or "), abi_hash());
  library.remedy = places.library.empty() ? fmt::format("{}; or export LATHE_CUDA_LIBRARY=PATH", kBuild)
                                          : "unset LATHE_CUDA_LIBRARY, or let it name the file";
  return library;
}

}  // namespace lathe::backend::cuda
