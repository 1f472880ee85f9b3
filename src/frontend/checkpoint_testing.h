// Changed copies of the models in tests/arch, for tests.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "io/gguf.h"
#include "io/gguf_writer.h"
#include "io/safetensors.h"

namespace lathe::frontend {

// A folder that goes away with the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lathe-frontend-XXXXXX").string();
    if (!::mkdtemp(name.data())) fail(ErrorCode::io, "mkdtemp \"{}\"", name);
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

using ChangeTensors = std::function<void(std::vector<io::NamedSource>&)>;

// tests/arch/NAME, a Hugging Face folder, with changes to its config and its tensors.
inline void copy_folder(const std::filesystem::path& to, const std::string& name, const Json& config_changes,
                        const ChangeTensors& change_tensors = {}) {
  const std::filesystem::path from = std::filesystem::path(LATHE_TESTS_DIR) / "arch" / name;
  Json config = parse_json(read_text_file(from / "config.json"), "config.json");
  for (const auto& [key, value] : config_changes.items()) {
    if (value.is_null())
      config.erase(key);
    else
      config[key] = value;
  }
  std::ofstream(to / "config.json") << config.dump();
  std::vector<io::NamedSource> tensors;
  for (const io::StoredTensor& tensor : io::SafetensorsModel::open(from).tensors) {
    tensors.push_back({tensor.name, tensor.source()});
  }
  if (change_tensors) change_tensors(tensors);
  io::write_safetensors(to / "model.safetensors", tensors);
}

// tests/arch/NAME/model.gguf without the keys of `without`, with what `add` sets, and with changes to its
// tensors.
inline void copy_gguf(const std::filesystem::path& to, const std::string& name,
                      const std::vector<std::string>& without,
                      const std::function<void(io::GgufWriter&)>& add,
                      const ChangeTensors& change_tensors = {}) {
  const auto from = io::GgufFile::open(std::filesystem::path(LATHE_TESTS_DIR) / "arch" / name / "model.gguf");
  io::GgufWriter writer;
  for (const auto& [key, value] : from.metadata) {
    if (std::find(without.begin(), without.end(), key) != without.end()) continue;
    if (key == "general.alignment") continue;  // the writer's own
    if (value.is_array()) {
      if (const auto strings = value.as_strings()) {
        writer.set_array(key, *strings);
      } else if (const auto floats = value.as_floats()) {
        writer.set_array(key, *floats);
      } else {
        writer.set_array(key, value.as_ints().value());
      }
    } else if (const auto text = value.as_string()) {
      writer.set(key, *text);
    } else if (const auto number = value.as_float()) {
      writer.set(key, *number);
    } else if (const auto boolean = value.as_bool()) {
      writer.set(key, *boolean);
    } else {
      writer.set(key, value.as_int().value());
    }
  }
  if (add) add(writer);
  std::vector<io::NamedSource> tensors;
  for (const io::StoredTensor& tensor : from.tensors) tensors.push_back({tensor.name, tensor.source()});
  if (change_tensors) change_tensors(tensors);
  writer.write(to, tensors);
}

inline ChangeTensors remove_tensor(std::string name) {
  return [name = std::move(name)](std::vector<io::NamedSource>& tensors) {
    const auto named = [&](const io::NamedSource& tensor) { return tensor.name == name; };
    if (std::erase_if(tensors, named) != 1) fail(ErrorCode::not_found, "no tensor \"{}\" to remove", name);
  };
}

}  // namespace lathe::frontend
