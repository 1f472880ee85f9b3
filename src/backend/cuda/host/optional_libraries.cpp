#include "backend/cuda/host/optional_libraries.h"

#include <dlfcn.h>

#include <functional>

#include "backend/cuda/host/library.h"
#include "base/file.h"

namespace lathe::backend::cuda {
namespace {

struct Wanted {
  std::string name;
  std::string needed_for;
  std::string file;
  std::vector<std::string> older;  // files of earlier versions
  const char* version_symbol;      // size_t()
  const char* cuda_symbol;         // size_t(), the CUDA it was built with
  size_t least;                    // version
  std::function<std::string(size_t)> print_version;
  std::string remedy;
};

// Of the first that is there: the handle, or why it does not load.
struct Opened {
  std::string path;
  void* handle = nullptr;
  std::string problem;  // empty, and no handle: it is not there
};

Opened open_first(const std::vector<std::filesystem::path>& folders, const std::string& file) {
  Opened opened;
  for (const std::filesystem::path& folder : folders) {
    const std::string path = (folder / file).string();
    if (!folder.empty() && file_kind(path) == FileKind::nothing) continue;
    if (void* handle = ::dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL)) return {path, handle, ""};
    const char* error = ::dlerror();
    const std::string text = error ? error : "";
    // For a bare name the loader says that there is no file just as it says that one cannot be used.
    const bool missing = folder.empty() && text.starts_with(file + ": cannot open shared object file");
    if (!missing && opened.problem.empty()) opened = {path, nullptr, text};
  }
  return opened;
}

std::optional<size_t> number_of(void* handle, const char* symbol) {
  void* found = ::dlsym(handle, symbol);
  if (!found) return std::nullopt;
  return reinterpret_cast<size_t (*)()>(found)();
}

// What is found, what is wrong with it and mends it.
void judge(const Wanted& wanted, const Opened& opened, int runtime_version, int driver_version, GpuPart& part) {
  part.remedy = wanted.remedy;
  const auto version = number_of(opened.handle, wanted.version_symbol);
  const auto cuda = number_of(opened.handle, wanted.cuda_symbol);
  if (!version || !cuda) {
    part.detail = fmt::format("\"{}\" has no {}", opened.path, version ? wanted.cuda_symbol : wanted.version_symbol);
    return;
  }
  part.detail =
      fmt::format("{} for CUDA {}, \"{}\"", wanted.print_version(*version), version_text(int(*cuda)), opened.path);
  if (*version < wanted.least) {
    part.detail += fmt::format(": too old, expected {} or later", wanted.print_version(wanted.least));
  } else if (int(*cuda) / 1000 != runtime_version / 1000) {
    part.detail +=
        fmt::format(": does not go with CUDA {}, which the kernels are built with", version_text(runtime_version));
  } else if (driver_version > 0 && int(*cuda) / 1000 > driver_version / 1000) {
    part.detail += fmt::format(": the driver runs CUDA up to {}", version_text(driver_version));
    part.remedy = kInstallDriver;
  } else {
    part.found = true;
    part.remedy.clear();
  }
}

GpuPart find(const Wanted& wanted, const std::vector<std::filesystem::path>& folders, int runtime_version,
             int driver_version) {
  GpuPart part{.name = wanted.name, .required = false, .detail = "", .needed_for = wanted.needed_for, .remedy = ""};
  const Opened opened = open_first(folders, wanted.file);
  if (opened.handle) {
    judge(wanted, opened, runtime_version, driver_version, part);
    ::dlclose(opened.handle);
  } else {
    part.remedy = wanted.remedy;
    part.detail = opened.problem.empty() ? fmt::format("{} was not found", wanted.file) : opened.problem;
    for (const std::string& file : wanted.older) {
      const Opened old = open_first(folders, file);
      if (!old.handle) continue;
      ::dlclose(old.handle);
      part.detail += fmt::format("; \"{}\" is too old", old.path);
      break;
    }
  }
  return part;
}

}  // namespace

GpuPart find_cublaslt(const std::vector<std::filesystem::path>& folders, int runtime_version, int driver_version) {
  const Wanted wanted = {
      .name = "cuBLASLt",
      .needed_for = "products of prompts on GPUs; nothing uses it yet",
      .file = "libcublasLt.so.13",
      .older = {"libcublasLt.so.12", "libcublasLt.so.11"},
      .version_symbol = "cublasLtGetVersion",
      .cuda_symbol = "cublasLtGetCudartVersion",
      .least = 130000,
      .print_version = [](size_t v) { return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100); },
      .remedy = "apt install libcublas-13-0 (NVIDIA's repository), or LD_LIBRARY_PATH with its folder"};
  return find(wanted, folders, runtime_version, driver_version);
}

GpuPart find_cudnn(const std::vector<std::filesystem::path>& folders, int runtime_version, int driver_version) {
  const Wanted wanted = {
      .name = "cuDNN",
      .needed_for = "convolutions on GPUs; nothing uses it yet",
      .file = "libcudnn.so.9",
      .older = {"libcudnn.so.8", "libcudnn.so.7"},
      .version_symbol = "cudnnGetVersion",
      .cuda_symbol = "cudnnGetCudartVersion",
      .least = 90000,
      .print_version = [](size_t v) { return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100); },
      .remedy = "apt install libcudnn9-cuda-13 (NVIDIA's repository), or LD_LIBRARY_PATH with its folder"};
  return find(wanted, folders, runtime_version, driver_version);
}

}  // namespace lathe::backend::cuda
