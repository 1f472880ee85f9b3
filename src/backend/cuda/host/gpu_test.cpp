// What is said of a machine with and without CUDA, by libraries that the tests are built with.
#include "backend/gpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "backend/cuda/host/driver.h"
#include "backend/cuda/host/library.h"
#include "backend/cuda/host/optional_libraries.h"

namespace lathe::backend {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

const std::filesystem::path kFakes = LATHE_FAKES_DIR;

// A folder that looks like /sys/bus/pci/devices with as many GPUs of NVIDIA, and a network card of theirs.
std::filesystem::path make_bus(int gpus) {
  const auto bus = std::filesystem::path(testing::TempDir()) / fmt::format("lathe_pci_{}", gpus);
  std::filesystem::remove_all(bus);
  const auto add = [&](const std::string& name, const char* vendor, const char* device_class) {
    std::filesystem::create_directories(bus / name);
    std::ofstream(bus / name / "vendor") << vendor << "\n";
    std::ofstream(bus / name / "class") << device_class << "\n";
  };
  add("0000:00:01.0", "0x8086", "0x030000");
  add("0000:00:02.0", "0x10de", "0x020000");
  for (int i = 0; i < gpus; ++i) add(fmt::format("0000:0{}:00.0", i + 1), "0x10de", i == 0 ? "0x030200" : "0x030000");
  return bus;
}

GpuPlaces places_of(const std::string& variant, int gpus_on_bus = 1) {
  return {.program_folder = kFakes / variant,
          .library = "",
          .visible = std::nullopt,
          .library_folders = {kFakes / "nothing"},
          .pci = make_bus(gpus_on_bus)};
}

const GpuPart& part_of(const GpuReport& report, std::string_view name) {
  for (const GpuPart& part : report.parts) {
    if (part.name == name) return part;
  }
  ADD_FAILURE() << "no " << name;
  return report.parts.front();
}

Error refusal(int index, const GpuPlaces& places) {
  try {
    refuse_gpu(index, places, "graphs");
  } catch (const Error& error) {
    return error;
  }
}

TEST(Gpu, NamesOfDevices) {
  EXPECT_EQ(gpu_index("cuda"), 0);
  EXPECT_EQ(gpu_index("cuda:0"), 0);
  EXPECT_EQ(gpu_index("cuda:12"), 12);
  for (const char* other : {"cpu", "", "cud", "cudart", "abacus"}) EXPECT_EQ(gpu_index(other), std::nullopt) << other;
  for (const char* wrong : {"cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda: 1", "cuda:99999999999"}) {
    try {
      gpu_index(wrong);
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage) << wrong;
      EXPECT_THAT(error.message(), HasSubstr(wrong));
    }
  }
}

TEST(Gpu, CountsThoseOfNvidiaOnTheBus) {
  EXPECT_EQ(cuda::count_gpus_on_bus(make_bus(0)), 0);
  EXPECT_EQ(cuda::count_gpus_on_bus(make_bus(3)), 3);
  EXPECT_EQ(cuda::count_gpus_on_bus("/nowhere/at/all"), 0);
}

TEST(Gpu, LibraryIsFoundBesideTheProgramOrInLibOrWhereTold) {
  GpuPlaces places = places_of("two_gpus");
  EXPECT_EQ(cuda::open_library(places).path, kFakes / "two_gpus/liblathe_cuda.so");
  const auto root = std::filesystem::path(testing::TempDir()) / "lathe_installed";
  std::filesystem::remove_all(root);
  std::filesystem::create_directories(root / "bin");
  std::filesystem::create_directories(root / "lib");
  std::filesystem::copy_file(kFakes / "no_device/liblathe_cuda.so", root / "lib/liblathe_cuda.so");
  places.program_folder = root / "bin";
  EXPECT_EQ(cuda::open_library(places).path, root / "lib/liblathe_cuda.so");
  EXPECT_NE(cuda::open_library(places).api, nullptr);
  places.library = (kFakes / "old_driver/liblathe_cuda.so").string();
  EXPECT_EQ(cuda::open_library(places).path, places.library);
  places.library = "/nowhere/lib.so";  // and nothing else instead
  EXPECT_EQ(cuda::open_library(places).api, nullptr);
  EXPECT_THAT(cuda::open_library(places).problem, HasSubstr("/nowhere/lib.so"));
  EXPECT_THAT(cuda::open_library(places).remedy, HasSubstr("LATHE_CUDA_LIBRARY"));
}

TEST(Gpu, MissingLibraryIsExplained) {
  const GpuReport report = look_at_gpus(places_of("nothing", 2), false);
  const GpuPart& library = part_of(report, "CUDA library");
  EXPECT_FALSE(library.found);
  EXPECT_THAT(library.detail, AllOf(HasSubstr("nothing/liblathe_cuda.so"), HasSubstr("lib/liblathe_cuda.so")));
  EXPECT_THAT(library.remedy, AllOf(HasSubstr("cmake --build"), HasSubstr("LATHE_CUDA_LIBRARY")));
  EXPECT_THAT(part_of(report, "GPU").detail, HasSubstr("2 of NVIDIA on the PCI bus"));
  EXPECT_EQ(report.library, "");
  EXPECT_EQ(refusal(0, places_of("nothing")).code(), ErrorCode::unsupported);
}

TEST(Gpu, LibraryOfAnotherBuildIsRefusedWithBothHashes) {
  const GpuReport report = look_at_gpus(places_of("other_build"), false);
  const GpuPart& library = part_of(report, "CUDA library");
  EXPECT_FALSE(library.found);
  EXPECT_THAT(library.detail, AllOf(HasSubstr("0123456789abcdef"), HasSubstr(std::string(cuda::abi_hash()))));
  EXPECT_EQ(report.library_abi_hash, "0123456789abcdef");
  EXPECT_EQ(report.abi_hash, cuda::abi_hash());
  EXPECT_EQ(report.abi_hash.size(), 16u);
  EXPECT_FALSE(library.remedy.empty());
  EXPECT_EQ(refusal(0, places_of("other_build")).code(), ErrorCode::unsupported);
}

TEST(Gpu, LibraryThatIsNoneIsRefused) {
  EXPECT_THAT(cuda::open_library(places_of("no_open")).problem, HasSubstr("lathe_cuda_open"));
  GpuPlaces places = places_of("nothing");
  places.library = (kFakes / "cudnn_9/libcudnn.so.9").string();
  EXPECT_THAT(cuda::open_library(places).problem, HasSubstr("lathe_cuda_abi_hash"));
  const auto text = std::filesystem::path(testing::TempDir()) / "lathe_text.so";
  std::ofstream(text) << "no library at all\n";
  places.library = text.string();
  EXPECT_EQ(cuda::open_library(places).api, nullptr);
  EXPECT_THAT(cuda::open_library(places).problem, HasSubstr("lathe_text.so"));
}

TEST(Gpu, NoDriver) {
  const GpuReport report = look_at_gpus(places_of("no_driver"), false);
  EXPECT_TRUE(part_of(report, "CUDA library").found);
  EXPECT_EQ(report.runtime_version, "13.0");
  EXPECT_EQ(report.driver_version, "");
  EXPECT_FALSE(part_of(report, "CUDA driver").found);
  EXPECT_THAT(part_of(report, "CUDA driver").remedy, StartsWith("apt install cuda-drivers"));
  EXPECT_THAT(part_of(look_at_gpus(places_of("no_driver", 0), false), "CUDA driver").remedy,
              StartsWith("with an NVIDIA GPU"));
  const Error error = refusal(0, places_of("no_driver"));
  EXPECT_EQ(error.code(), ErrorCode::resource);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("libcuda.so.1"), HasSubstr("apt install")));
}

TEST(Gpu, DriverThatIsTooOldIsNamedWithBothVersions) {
  const GpuReport report = look_at_gpus(places_of("old_driver"), false);
  const GpuPart& driver = part_of(report, "CUDA driver");
  EXPECT_FALSE(driver.found);
  EXPECT_THAT(driver.detail, AllOf(HasSubstr("12.4"), HasSubstr("13.0")));
  EXPECT_THAT(driver.remedy, HasSubstr("apt install cuda-drivers"));
  const Error error = refusal(0, places_of("old_driver"));
  EXPECT_EQ(error.code(), ErrorCode::resource);
  EXPECT_THAT(error.message(), AllOf(HasSubstr("12.4"), HasSubstr("13.0")));
}

TEST(Gpu, NoneToSee) {
  GpuPlaces places = places_of("no_device");
  EXPECT_TRUE(part_of(look_at_gpus(places, false), "CUDA driver").found);
  EXPECT_THAT(part_of(look_at_gpus(places, false), "GPU").remedy, HasSubstr("nvidia-smi"));
  places.visible = "";
  const GpuPart hidden = part_of(look_at_gpus(places, false), "GPU");
  EXPECT_FALSE(hidden.found);
  EXPECT_THAT(hidden.detail, HasSubstr("CUDA_VISIBLE_DEVICES=\"\""));
  EXPECT_EQ(hidden.remedy, "unset CUDA_VISIBLE_DEVICES");
  EXPECT_EQ(refusal(0, places).code(), ErrorCode::resource);
  EXPECT_THAT(refusal(0, places).message(), HasSubstr("unset CUDA_VISIBLE_DEVICES"));
}

TEST(Gpu, TwoOfThem) {
  const GpuPlaces places = places_of("two_gpus");
  const GpuReport report = look_at_gpus(places, false);
  ASSERT_EQ(report.devices.size(), 2u);
  EXPECT_EQ(report.devices[1].name, "Imagined GPU 1");
  EXPECT_EQ(report.devices[1].compute_capability, "9.0");
  EXPECT_EQ(report.devices[1].multiprocessors, 101);
  EXPECT_EQ(report.devices[1].memory_total_bytes, 80'000'000'000u);
  EXPECT_TRUE(report.devices[1].usable);
  EXPECT_EQ(report.driver_version, "13.1");
  EXPECT_EQ(report.architectures, "sm_80 compute_80");
  EXPECT_THAT(part_of(report, "GPU cuda:0").detail, AllOf(HasSubstr("79.0 of 80.0 GB"), HasSubstr("self test passed")));
  const Error there = refusal(1, places);
  EXPECT_EQ(there.code(), ErrorCode::unsupported);
  EXPECT_THAT(there.message(), AllOf(HasSubstr("cuda:1"), HasSubstr("graphs"), HasSubstr("CPU only")));
  const Error beyond = refusal(2, places);
  EXPECT_EQ(beyond.code(), ErrorCode::resource);
  EXPECT_THAT(beyond.message(), AllOf(HasSubstr("cuda:2"), HasSubstr("2 GPUs")));
}

TEST(Gpu, OneThatRunsNoKernels) {
  const GpuReport old = look_at_gpus(places_of("old_gpu"), false);
  EXPECT_FALSE(part_of(old, "GPU cuda:0").found);
  EXPECT_THAT(part_of(old, "GPU cuda:0").detail, HasSubstr("kernels need 8.0"));
  EXPECT_EQ(part_of(old, "GPU cuda:0").remedy, "");
  EXPECT_EQ(refusal(0, places_of("old_gpu")).code(), ErrorCode::resource);
  const GpuReport failing = look_at_gpus(places_of("failing_gpu"), false);
  EXPECT_FALSE(failing.devices.at(0).usable);
  EXPECT_THAT(part_of(failing, "GPU cuda:0").remedy, HasSubstr("nvidia-smi"));
  EXPECT_THAT(refusal(0, places_of("failing_gpu")).message(), HasSubstr("element 7: expected 1591, found 0"));
}

TEST(Gpu, OptionalLibraries) {
  const auto cublaslt = [](const char* folder, int driver) {
    return cuda::find_cublaslt({kFakes / "nothing", kFakes / folder}, 13000, driver);
  };
  const GpuPart good = cublaslt("cublaslt_13", 13000);
  EXPECT_TRUE(good.found) << good.detail;
  EXPECT_THAT(good.detail, AllOf(HasSubstr("13.1.0 for CUDA 13.0"), HasSubstr("cublaslt_13/libcublasLt.so.13")));
  EXPECT_FALSE(good.required);
  EXPECT_TRUE(good.remedy.empty());
  EXPECT_TRUE(cublaslt("cublaslt_13", 0).found);  // no driver to fit
  EXPECT_THAT(cublaslt("cublaslt_13", 12040).detail, HasSubstr("driver runs CUDA up to 12.4"));
  EXPECT_THAT(cublaslt("cublaslt_13", 12040).remedy, HasSubstr("cuda-drivers"));
  EXPECT_THAT(cublaslt("cublaslt_12", 13000).detail, AllOf(HasSubstr("libcublasLt.so.13"), HasSubstr("too old")));
  EXPECT_THAT(cublaslt("cublaslt_odd", 13000).detail, HasSubstr("cublasLtGetVersion"));
  const GpuPart none = cublaslt("nothing", 13000);
  EXPECT_FALSE(none.found);
  EXPECT_EQ(none.detail, "libcublasLt.so.13 was not found");
  EXPECT_THAT(none.remedy, HasSubstr("apt install libcublas"));

  const auto cudnn = [](const char* folder) { return cuda::find_cudnn({kFakes / folder}, 13000, 13000); };
  EXPECT_TRUE(cudnn("cudnn_9").found);
  EXPECT_THAT(cudnn("cudnn_9").detail, HasSubstr("9.19.0"));
  EXPECT_THAT(cudnn("cudnn_cuda12").detail, AllOf(HasSubstr("CUDA 12.4"), HasSubstr("does not go with CUDA 13.0")));
  EXPECT_THAT(cudnn("cudnn_8").detail, HasSubstr("too old"));
  EXPECT_THAT(cudnn("nothing").remedy, HasSubstr("apt install libcudnn9"));
}

// The library that was built, where there is an nvcc: it loads everywhere, and where there is no driver it says so.
TEST(Gpu, TheRealLibraryLoadsWithoutADriver) {
  if (!*LATHE_CUDA_BUILT) GTEST_SKIP() << "no nvcc, no liblathe_cuda.so";
  GpuPlaces places = places_of("nothing");
  places.library = LATHE_CUDA_BUILT;
  const GpuReport report = look_at_gpus(places, false);
  EXPECT_TRUE(part_of(report, "CUDA library").found) << part_of(report, "CUDA library").detail;
  EXPECT_EQ(report.library_abi_hash, cuda::abi_hash());
  EXPECT_THAT(report.architectures, HasSubstr("sm_"));
  const cuda::Library library = cuda::open_library(places);
  LatheCudaMessage message = {};
  void* memory = nullptr;
  EXPECT_EQ(library.api->allocate(0, 0, &memory, &message), LATHE_CUDA_BAD_ARGUMENT);
  EXPECT_EQ(library.api->linear_decode(nullptr, nullptr, &message), LATHE_CUDA_BAD_ARGUMENT);
  if (cuda::find_driver().found) return;
  EXPECT_FALSE(part_of(report, "CUDA driver").found);
  EXPECT_EQ(refusal(0, places).code(), ErrorCode::resource);
  LatheCudaSystem system = {};
  EXPECT_EQ(library.api->describe(&system, &message), LATHE_CUDA_NO_DRIVER);
  EXPECT_STREQ(message.text, "libcuda.so.1 was not found");
  EXPECT_NE(library.api->self_test(0, nullptr), LATHE_CUDA_OK);  // a message is not required
  EXPECT_NE(library.api->allocate(0, 16, &memory, &message), LATHE_CUDA_OK);
  EXPECT_EQ(memory, nullptr);
}

}  // namespace
}  // namespace lathe::backend
