#include "backend/device.h"

#include <array>

#include "base/error.h"

namespace lathe::backend {

// backend/<name>/device.cpp
const Device& cpu_device();
const Device& cuda_device();

std::span<const Device* const> devices() {
  static const std::array kDevices = {&cpu_device(), &cuda_device()};
  return kDevices;
}

const Device* find_device(std::string_view name) {
  for (const Device* device : devices()) {
    if (device->name == name) return device;
  }
  return nullptr;
}

const Device& get_device(std::string_view name) {
  if (const Device* device = find_device(name)) return *device;
  std::vector<std::string_view> names;
  for (const Device* device : devices()) names.push_back(device->name);
  fail(ErrorCode::unsupported, "device \"{}\": this program runs on {} only", name, fmt::join(names, ", "));
}

const PackedLayout* find_layout(const Device& device, tensor::DType dtype, tensor::Encoding encoding) {
  for (const PackedLayout* layout : device.layouts) {
    if (layout->holds(dtype, encoding)) return layout;
  }
  return nullptr;
}

const PackedLayout* find_layout(std::string_view name) {
  for (const Device* device : devices()) {
    for (const PackedLayout* layout : device->layouts) {
      if (layout->name() == name) return layout;
    }
  }
  return nullptr;
}

std::string isa_name(const Device& device, int isa) {
  const std::vector<Capability> sets = device.capabilities();
  // What stands behind them is chosen by its name alone, by tests.
  return size_t(isa) < sets.size() ? sets[size_t(isa)].isa : sets.at(sets.size() - 1).isa + "_emulated";
}

}  // namespace lathe::backend
