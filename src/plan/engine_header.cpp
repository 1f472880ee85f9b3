#include "plan/engine_header.h"

#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "base/hash.h"
#include "plan/engine_file.h"

namespace lathe::plan {
namespace {

constexpr size_t kHashDigits = 32;
constexpr size_t kHashed = kHeaderUsed - kHashDigits;  // what the header's own hash covers

std::string hash_of(std::string_view bytes) {
  return xxh3_128_hex(std::as_bytes(std::span(bytes)));
}

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);  // little-endian, as this machine is
}

void put(std::string& out, const Section& section) {
  put(out, section.offset);
  put(out, section.bytes);
  LATHE_CHECK(section.hash.empty() || section.hash.size() == kHashDigits);
  out += section.hash;
  out.append(kHashDigits - section.hash.size(), '\0');
}

template <class T>
T get(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// A section is offset, size, hash: 48 bytes.
Section get_section(std::string_view bytes, size_t at) {
  Section section{get<uint64_t>(bytes, at), get<uint64_t>(bytes, at + 8), {}};
  if (section.bytes > 0) section.hash = bytes.substr(at + 16, kHashDigits);
  return section;
}

void check_inside(std::string_view what, uint64_t offset, uint64_t bytes, uint64_t file_bytes) {
  if (offset <= file_bytes && bytes <= file_bytes - offset) return;
  fail(ErrorCode::invalid_input, "truncated: the {} is {} bytes at {}, the file has {}", what, bytes, offset,
       file_bytes);
}

// The text up to the first zero; nothing where it is no text. No hash covers it.
std::string producer_of(std::span<const std::byte> file) {
  if (file.size() < kHeaderUsed + kProducerBytes) return {};
  const auto bytes = file.subspan(kHeaderUsed, kProducerBytes);
  std::string text;
  for (const std::byte byte : bytes) {
    if (byte == std::byte{0}) return text;
    if (byte < std::byte{0x20} || byte > std::byte{0x7e}) return {};
    text += char(byte);
  }
  return text;
}

}  // namespace

int64_t weight_place(int64_t end, int64_t bytes) {
  constexpr int64_t kPageAligned = int64_t{1} << 16;
  constexpr int64_t kSmallAlignment = 64;  // smaller ones share pages with their neighbours
  return align_up(end, bytes >= kPageAligned ? int64_t{kWeightAlignment} : kSmallAlignment);
}

std::string write_header(const Header& header) {
  std::string out(kMagic);
  put(out, header.version);
  put(out, uint32_t(kHeaderBytes));
  put(out, kHeaderBytes);
  put(out, header.weight_bytes);
  put(out, header.manifest);
  put(out, header.receipt);
  LATHE_CHECK(out.size() == kHashed);
  out += hash_of(out);
  out += header.producer.substr(0, kProducerBytes);
  out.resize(kHeaderUsed + kProducerBytes);
  return out;
}

Header read_header(std::span<const std::byte> file, uint64_t file_bytes) {
  const std::string_view bytes(reinterpret_cast<const char*>(file.data()), std::min(file.size(), kHeaderUsed));
  if (!bytes.starts_with(kMagic)) fail(ErrorCode::invalid_input, "not an engine file");
  if (file_bytes < kHeaderBytes || bytes.size() < kHeaderUsed) {
    fail(ErrorCode::invalid_input, "truncated: {} bytes are less than a header", file_bytes);
  }
  const auto version = get<uint32_t>(bytes, 8);
  const std::string producer = producer_of(file);
  if (version == 0 || version > kEngineVersion) {
    // Every version up to this program's own is read; `lathe build` cannot help with one that is not.
    fail(ErrorCode::unsupported,
         "engine format {}{}, this program, lathe {}, reads formats up to {}: run it with {}, or build it again from "
         "its checkpoint",
         version, producer.empty() ? "" : fmt::format(", written by {}", producer), LATHE_VERSION, kEngineVersion,
         producer.empty() ? "a lathe that reads it" : producer);
  }
  if (bytes.substr(kHashed) != hash_of(bytes.substr(0, kHashed))) fail(ErrorCode::invalid_input, "header damaged");
  if (get<uint32_t>(bytes, 12) != kHeaderBytes || get<uint64_t>(bytes, 16) != kHeaderBytes) {
    fail(ErrorCode::invalid_input, "header of {} bytes, weights at {}", get<uint32_t>(bytes, 12),
         get<uint64_t>(bytes, 16));
  }
  const Header header{version, get<uint64_t>(bytes, 24), get_section(bytes, 32), get_section(bytes, 80), producer};
  check_inside("weight section", kHeaderBytes, header.weight_bytes, file_bytes);
  check_inside("manifest", header.manifest.offset, header.manifest.bytes, file_bytes);
  check_inside("receipt", header.receipt.offset, header.receipt.bytes, file_bytes);
  return header;
}

}  // namespace lathe::plan
