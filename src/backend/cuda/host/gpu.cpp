#include "backend/gpu.h"

#include <algorithm>
#include <charconv>

#include "backend/cuda/host/driver.h"
#include "backend/cuda/host/library.h"
#include "backend/cuda/host/optional_libraries.h"

namespace lathe::backend {
namespace {

using namespace cuda;

constexpr int kToolkit = 13000;   // that the library is built with, where it is not there to say so
constexpr int kMostDevices = 64;  // of a report
constexpr const char* kNeededFor = "language models on --device cuda";
constexpr const char* kContainer = "in a container: start it with --gpus all";

std::string text_of(LatheCudaMessage& message) {
  message.text[sizeof message.text - 1] = 0;
  return message.text;
}

// What the library says of the machine.
struct Answer {
  int32_t status = LATHE_CUDA_FAILED;
  LatheCudaSystem system = {};
  std::string message;
};

Answer ask(const LatheCudaApi& api) {
  Answer answer;
  LatheCudaMessage message = {};
  answer.status = api.describe(&answer.system, &message);
  answer.message = text_of(message);
  return answer;
}

Gpu not_looked_at(int index) {
  return {.index = index, .name = "", .compute_capability = "", .problem = "not looked at", .remedy = ""};
}

Gpu describe_gpu(const LatheCudaApi& api, int index) {
  Gpu gpu{.index = index, .name = "", .compute_capability = "", .problem = "", .remedy = ""};
  LatheCudaDevice device = {};
  LatheCudaMessage message = {};
  int32_t status = api.describe_device(index, &device, &message);
  device.name[sizeof device.name - 1] = 0;
  gpu.name = device.name;
  gpu.compute_capability = fmt::format("{}.{}", device.major, device.minor);
  gpu.multiprocessors = device.multiprocessors;
  gpu.memory_total_bytes = device.memory_total;
  gpu.memory_free_bytes = device.memory_free;
  if (status == LATHE_CUDA_OK) status = api.self_test(index, &message);
  gpu.usable = status == LATHE_CUDA_OK;
  if (gpu.usable) return gpu;
  gpu.problem = text_of(message);
  if (status != LATHE_CUDA_OTHER_DEVICE) gpu.remedy = "nvidia-smi shows what the driver says of it, and who uses it";
  return gpu;
}

GpuPart library_part(const Library& library, const GpuReport& report) {
  GpuPart part{.name = "CUDA library",
               .found = library.api != nullptr,
               .code = ErrorCode::unsupported,
               .detail = library.problem,
               .needed_for = kNeededFor,
               .remedy = library.remedy};
  if (part.found) {
    part.detail = fmt::format("\"{}\", ABI {}, CUDA {}, {}", report.library, report.library_abi_hash,
                              report.runtime_version, report.architectures);
  }
  return part;
}

// Of the driver, as the library would say it.
int32_t status_of(const Driver& driver) {
  if (!driver.found) return LATHE_CUDA_NO_DRIVER;
  return driver.version > 0 && driver.version / 1000 < kToolkit / 1000 ? LATHE_CUDA_OLD_DRIVER : LATHE_CUDA_OK;
}

GpuPart driver_part(const Answer* answer, const Driver& seen, int on_bus, const GpuReport& report) {
  GpuPart part{.name = "CUDA driver", .detail = "", .needed_for = kNeededFor, .remedy = ""};
  const std::string version =
      report.driver_version.empty() ? "of unknown version" : fmt::format("for CUDA {}", report.driver_version);
  const int32_t status = answer ? answer->status : status_of(seen);
  if (status == LATHE_CUDA_NO_DRIVER) {
    part.detail = answer ? answer->message : "libcuda.so.1 was not found";
    part.remedy = on_bus == 0 ? fmt::format("with an NVIDIA GPU: {}; {}", kInstallDriver, kContainer)
                              : fmt::format("{}; {}", kInstallDriver, kContainer);
    return part;
  }
  if (status == LATHE_CUDA_OLD_DRIVER) {
    part.detail = fmt::format("too old: it runs CUDA up to {}, liblathe_cuda.so is built with CUDA {}",
                              report.driver_version, answer ? report.runtime_version : version_text(kToolkit));
    part.remedy = fmt::format("{}; in a container: the host's driver", kInstallDriver);
    return part;
  }
  part.found = true;
  part.detail = version;
  return part;
}

// Why there is no GPU to use.
GpuPart no_gpu(const Answer* answer, int on_bus, const GpuPlaces& places) {
  GpuPart part{.name = "GPU", .detail = "", .needed_for = kNeededFor, .remedy = ""};
  const std::string bus =
      on_bus == 0 ? "no NVIDIA GPU is on the PCI bus" : fmt::format("{} of NVIDIA on the PCI bus", on_bus);
  if (!answer) {
    part.detail = fmt::format("not known without the CUDA library; {}", bus);
  } else if (answer->status == LATHE_CUDA_NO_DRIVER || answer->status == LATHE_CUDA_OLD_DRIVER) {
    part.detail = fmt::format("not known without a driver; {}", bus);
  } else if (answer->status != LATHE_CUDA_NO_DEVICE) {
    part.detail = fmt::format("{}; {}", answer->message, bus);
    part.remedy = "nvidia-smi shows what the driver says; after an upgrade of the driver: reboot";
  } else if (places.visible) {
    part.detail = fmt::format("CUDA_VISIBLE_DEVICES=\"{}\" shows none to this process; {}", *places.visible, bus);
    part.remedy = "unset CUDA_VISIBLE_DEVICES";
  } else {
    part.detail = fmt::format("{}; {}", answer->message, bus);
    if (on_bus > 0) part.remedy = fmt::format("nvidia-smi shows what the driver says; {}", kContainer);
  }
  return part;
}

GpuPart gpu_part(const Gpu& gpu) {
  GpuPart part{.name = fmt::format("GPU cuda:{}", gpu.index),
               .found = gpu.usable,
               .detail = "",
               .needed_for = kNeededFor,
               .remedy = gpu.remedy};
  part.detail = fmt::format("{}, compute capability {}, {:.1f} of {:.1f} GB free, {}", gpu.name, gpu.compute_capability,
                            double(gpu.memory_free_bytes) / 1e9, double(gpu.memory_total_bytes) / 1e9,
                            gpu.usable ? "self test passed" : gpu.problem);
  return part;
}

// `only`: of this GPU alone; others are counted, and keep the memory that looking at them takes.
GpuReport look(const GpuPlaces& places, bool optional, std::optional<int> only) {
  GpuReport report;
  const Library library = open_library(places);
  const Driver seen = find_driver();
  const int on_bus = count_gpus_on_bus(places.pci);
  std::optional<Answer> answer;
  if (library.api) answer = ask(*library.api);
  const int driver_version = answer ? answer->system.driver_version : seen.version;
  report.abi_hash = abi_hash();
  report.library = library.path.string();
  report.library_abi_hash = library.abi_hash;
  report.driver_version = version_text(driver_version);
  if (library.api) {
    report.architectures = library.api->architectures;
    report.runtime_version = version_text(answer->system.runtime_version);
    const int devices = answer->status == LATHE_CUDA_OK ? std::min(answer->system.devices, kMostDevices) : 0;
    for (int i = 0; i < devices; ++i) {
      const bool wanted = !only || *only == i;
      report.devices.push_back(wanted ? describe_gpu(*library.api, i) : not_looked_at(i));
    }
  }
  const Answer* const said = answer ? &*answer : nullptr;
  report.parts.push_back(library_part(library, report));
  report.parts.push_back(driver_part(said, seen, on_bus, report));
  if (report.devices.empty()) report.parts.push_back(no_gpu(said, on_bus, places));
  for (const Gpu& gpu : report.devices) report.parts.push_back(gpu_part(gpu));
  if (optional) {
    const int runtime_version = answer ? answer->system.runtime_version : kToolkit;
    report.parts.push_back(find_cublaslt(places.library_folders, runtime_version, driver_version));
    report.parts.push_back(find_cudnn(places.library_folders, runtime_version, driver_version));
  }
  return report;
}

}  // namespace

GpuReport look_at_gpus(const GpuPlaces& places, bool optional) {
  return look(places, optional, std::nullopt);
}

std::optional<int> gpu_index(std::string_view device) {
  constexpr std::string_view kName = "cuda";
  if (device == kName) return 0;
  if (!device.starts_with(kName) || device[kName.size()] != ':') return std::nullopt;
  const std::string_view digits = device.substr(kName.size() + 1);
  int index = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size() || index < 0) {
    fail(ErrorCode::usage, "device \"{}\": expected cuda or cuda:N with the number of a GPU", device);
  }
  return index;
}

void check_gpu(int index, const GpuPlaces& places) {
  const GpuReport report = look(places, false, index);
  const std::string device = fmt::format("device \"cuda:{}\"", index);
  std::vector<std::string> missing;
  std::optional<ErrorCode> code;
  for (const GpuPart& part : report.parts) {
    // Another GPU that cannot be used is no reason.
    if (part.found || (!report.devices.empty() && part.name.starts_with("GPU"))) continue;
    missing.push_back(
        fmt::format("{}: {}{}{}", part.name, part.detail, part.remedy.empty() ? "" : " -- ", part.remedy));
    if (!code) code = part.code;
  }
  if (code) fail(*code, "{}: {}", device, fmt::join(missing, "; "));
  if (size_t(index) >= report.devices.size()) {
    fail(ErrorCode::resource, "{}: this process is shown {} GPUs, cuda:0 to cuda:{}", device, report.devices.size(),
         report.devices.size() - 1);
  }
  const Gpu& gpu = report.devices[size_t(index)];
  if (gpu.usable) return;
  fail(ErrorCode::resource, "{}: {}: {}{}{}", device, gpu.name, gpu.problem, gpu.remedy.empty() ? "" : " -- ",
       gpu.remedy);
}

void refuse_gpu(int index, const GpuPlaces& places, std::string_view what) {
  check_gpu(index, places);
  fail(ErrorCode::unsupported, "device \"cuda:{}\": only language models run on GPUs, {} on the CPU only; --device cpu",
       index, what);
}

}  // namespace lathe::backend
