// The first 224 bytes of an engine file; docs/engine-format.md describes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lathe::plan {

constexpr uint64_t kHeaderBytes = 4096;     // the weight section begins here
constexpr size_t kHeaderUsed = 160;         // what opening needs
constexpr size_t kProducerBytes = 64;       // behind it, for messages only; the rest of the page is zero
constexpr uint64_t kSectionAlignment = 64;  // of manifest and receipt
// Not a text: a transfer that changes line ends is noticed.
constexpr std::string_view kMagic = {"LATHE\r\n\0", 8};

// Where the next `bytes` of a weight section go that ends at `end` so far: large ones on pages of their own.
int64_t weight_place(int64_t end, int64_t bytes);

// A part of the file with its XXH3-128; absent: size 0, hash empty.
struct Section {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::string hash;
};

struct Header {
  uint32_t version = 1;  // of the format
  uint64_t weight_bytes = 0;
  Section manifest;
  Section receipt;
  std::string producer;  // "lathe 0.1.0"; cut to kProducerBytes
};

// kHeaderUsed + kProducerBytes bytes.
std::string write_header(const Header& header);
// `bytes`: the file, or its beginning; `file_bytes`: its size, which all sections must fit in. Throws
// invalid_input, or unsupported for a version that this program cannot read, naming the program that wrote it.
Header read_header(std::span<const std::byte> bytes, uint64_t file_bytes);

}  // namespace lathe::plan
