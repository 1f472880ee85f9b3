// Content hashes: SHA-256 for identities that people compare, XXH3-128 for damage in bulk data.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace lathe {

// Lower-case hexadecimal.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_file_hex(const std::filesystem::path& path);
std::string xxh3_128_hex(std::span<const std::byte> bytes);

// SHA-256 over parts that arrive one after another.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::span<const std::byte> bytes);
  std::string finish_hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lathe
